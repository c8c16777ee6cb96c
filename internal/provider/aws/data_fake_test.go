package aws_test

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/riposte-sec/riposte/internal/provider/aws/awstest"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

type object = map[string]any

// lacking stands in front of the emulator and speaks what it lacks: of EKS clusters, their endpoints and access entries;
// of Security Hub whether it is on, with its tags; of SES the account; of Session Manager sessions; of ECS a task. The rest goes on.
type lacking struct {
	URL string

	mu       sync.Mutex
	cluster  object            // as EKS describes it
	slowness int               // how many times an update is seen under way
	after    object            // what the cluster's network is once it is done
	entries  map[string]object // access entries by principal
	policies map[string][]object
	hub      map[string]string // tags of Security Hub; nil where it is off
	sends    bool
	sessions map[string]string // state by id: Active, History
	task     string            // status of the one task that ECS has
}

func newLacking(t *testing.T) *lacking {
	t.Helper()
	emulator := must[*url.URL](t)(url.Parse(awstest.Emulator(t)))
	f := &lacking{
		entries: map[string]object{}, policies: map[string][]object{}, sends: true,
		task: "RUNNING", sessions: map[string]string{"eve-0123456789abcdef0": "Active", "bob-0123456789abcdef1": "History"},
		cluster: object{
			"name": "shop", "arn": "arn:aws:eks:" + awstest.Region + ":" + awstest.Home + ":cluster/shop", "status": "ACTIVE",
			"endpoint": "https://127.0.0.1:1", "tags": object{"env": "prod"}, "accessConfig": object{"authenticationMode": "API_AND_CONFIG_MAP"},
			"resourcesVpcConfig": object{"endpointPublicAccess": true, "endpointPrivateAccess": false, "publicAccessCidrs": []any{"0.0.0.0/0"}},
		},
	}
	onward := httputil.NewSingleHostReverseProxy(emulator)
	apis := http.NewServeMux()
	f.eks(apis)
	f.others(apis, onward)
	apis.Handle("/", onward)
	server := httptest.NewServer(apis)
	t.Cleanup(server.Close)
	f.URL = server.URL
	return f
}

// serve answers by a function of the request's body, under the lock.
func (f *lacking) serve(work func(r *http.Request, body object) (status int, answer any)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body := object{}
		if text, err := io.ReadAll(r.Body); err == nil && len(text) > 0 {
			if err := json.Unmarshal(text, &body); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		status, answer := work(r, body)
		if code, refused := answer.(string); refused {
			w.Header().Set("X-Amzn-Errortype", code)
			answer = object{"message": code, "__type": code}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(answer)
	}
}

func (f *lacking) eks(apis *http.ServeMux) {
	apis.HandleFunc("GET /clusters/{name}", f.serve(func(r *http.Request, _ object) (int, any) {
		if r.PathValue("name") != "shop" {
			return http.StatusNotFound, "ResourceNotFoundException"
		}
		f.progress()
		return http.StatusOK, object{"cluster": f.cluster}
	}))
	apis.HandleFunc("POST /clusters/{name}/update-config", f.serve(func(_ *http.Request, body object) (int, any) {
		if f.cluster["status"] != "ACTIVE" {
			return http.StatusConflict, "ResourceInUseException"
		}
		f.after = maps.Clone(f.cluster["resourcesVpcConfig"].(object))
		maps.Copy(f.after, body["resourcesVpcConfig"].(object))
		if f.after["endpointPublicAccess"] == false && f.after["endpointPrivateAccess"] == false {
			return http.StatusBadRequest, "InvalidParameterException"
		}
		f.cluster["status"] = "UPDATING"
		return http.StatusOK, object{"update": object{"id": "u-1", "status": "InProgress", "type": "EndpointAccessUpdate"}}
	}))
	entry := "/clusters/{name}/access-entries/{principal}"
	apis.HandleFunc("GET "+entry, f.serve(func(r *http.Request, _ object) (int, any) {
		if e, there := f.entries[r.PathValue("principal")]; there {
			return http.StatusOK, object{"accessEntry": e}
		}
		return http.StatusNotFound, "ResourceNotFoundException"
	}))
	apis.HandleFunc("DELETE "+entry, f.serve(func(r *http.Request, _ object) (int, any) {
		delete(f.entries, r.PathValue("principal"))
		delete(f.policies, r.PathValue("principal"))
		return http.StatusOK, object{}
	}))
	apis.HandleFunc("POST /clusters/{name}/access-entries", f.serve(func(_ *http.Request, body object) (int, any) {
		principal, _ := body["principalArn"].(string)
		if _, there := f.entries[principal]; there {
			return http.StatusConflict, "ResourceInUseException"
		}
		if name, _ := body["username"].(string); strings.HasPrefix(name, "arn:") {
			return http.StatusBadRequest, "InvalidParameterException" // EKS keeps such names to itself
		}
		if body["username"] == nil {
			body["username"] = "arn:aws:sts::" + awstest.Home + ":assumed-role/" + principal[strings.LastIndex(principal, "/")+1:] + "/{{SessionName}}"
		}
		f.entries[principal] = body
		return http.StatusOK, object{"accessEntry": body}
	}))
	apis.HandleFunc("GET "+entry+"/access-policies", f.serve(func(r *http.Request, _ object) (int, any) {
		return http.StatusOK, object{"associatedAccessPolicies": f.policies[r.PathValue("principal")]}
	}))
	apis.HandleFunc("POST "+entry+"/access-policies", f.serve(func(r *http.Request, body object) (int, any) {
		principal := r.PathValue("principal")
		if _, there := f.entries[principal]; !there {
			return http.StatusNotFound, "ResourceNotFoundException"
		}
		f.policies[principal] = append(f.policies[principal], body)
		return http.StatusOK, object{}
	}))
}

// progress lets an update under way go on by one look.
func (f *lacking) progress() {
	if f.cluster["status"] != "UPDATING" {
		return
	}
	if f.slowness > 0 {
		f.slowness--
		return
	}
	f.cluster["status"], f.cluster["resourcesVpcConfig"] = "ACTIVE", f.after
}

func (f *lacking) others(apis *http.ServeMux, onward http.Handler) {
	hub := "arn:aws:securityhub:" + awstest.Region + ":" + awstest.Home + ":hub/default"
	apis.HandleFunc("GET /accounts", f.serve(func(*http.Request, object) (int, any) {
		if f.hub == nil {
			return http.StatusForbidden, "InvalidAccessException"
		}
		return http.StatusOK, object{"HubArn": hub}
	}))
	apis.HandleFunc("POST /accounts", f.serve(func(_ *http.Request, body object) (int, any) {
		if f.hub != nil {
			return http.StatusConflict, "ResourceConflictException"
		}
		f.hub = map[string]string{}
		tags, _ := body["Tags"].(object)
		for key, value := range tags {
			f.hub[key], _ = value.(string)
		}
		return http.StatusOK, object{}
	}))
	apis.HandleFunc("DELETE /accounts", f.serve(func(*http.Request, object) (int, any) { f.hub = nil; return http.StatusOK, object{} }))
	apis.HandleFunc("GET /tags/{arn...}", f.serve(func(*http.Request, object) (int, any) { return http.StatusOK, object{"Tags": f.hub} }))
	apis.HandleFunc("GET /v2/email/account", f.serve(func(*http.Request, object) (int, any) {
		return http.StatusOK, object{"SendingEnabled": f.sends, "SendQuota": object{"SentLast24Hours": 1234}}
	}))
	apis.HandleFunc("PUT /v2/email/account/sending", f.serve(func(_ *http.Request, body object) (int, any) {
		f.sends, _ = body["SendingEnabled"].(bool)
		return http.StatusOK, object{}
	}))
	session := f.serve(func(r *http.Request, body object) (int, any) {
		if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".TerminateSession") {
			id, _ := body["SessionId"].(string)
			f.sessions[id] = "History"
			return http.StatusOK, object{"SessionId": id}
		}
		found := []object{}
		id := body["Filters"].([]any)[0].(object)["value"]
		for _, known := range slices.Sorted(maps.Keys(f.sessions)) {
			if known == id && f.sessions[known] == body["State"] {
				found = append(found, object{"SessionId": known, "Target": "i-0123456789abcdef0", "Owner": "arn:aws:iam::" + awstest.Home + ":user/eve"})
			}
		}
		return http.StatusOK, object{"Sessions": found}
	})
	task := f.serve(func(r *http.Request, body object) (int, any) {
		const id = "0123456789abcdef0123456789abcdef"
		if body["task"] == id {
			f.task = "STOPPED"
		}
		asked, _ := body["tasks"].([]any)
		found := object{
			"taskArn": "arn:aws:ecs:eu-central-1:" + awstest.Home + ":task/kitchen/" + id, "lastStatus": f.task, "group": "service:oven",
			"tags": []object{{"key": "owner", "value": "shop"}},
		}
		if len(asked) == 1 && asked[0] == id {
			return http.StatusOK, object{"tasks": []object{found}}
		}
		return http.StatusOK, object{"tasks": []object{}, "failures": []object{{"reason": "MISSING"}}}
	})
	apis.HandleFunc("POST /{$}", func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.Header.Get("X-Amz-Target"), "Task") || strings.HasSuffix(r.Header.Get("X-Amz-Target"), "Tasks") {
			task(w, r)
			return
		}
		if target := r.Header.Get("X-Amz-Target"); strings.HasSuffix(target, "Session") || strings.HasSuffix(target, "Sessions") {
			session(w, r)
			return
		}
		onward.ServeHTTP(w, r)
	})
}

// state tells what there is, as text that can be compared.
func (f *lacking) state(t *testing.T) string {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.slowness = 0
	f.progress()
	return dump(t, object{
		"network": f.cluster["resourcesVpcConfig"], "entries": f.entries, "policies": f.policies, "hub": f.hub != nil, "sends": f.sends,
		"sessions": f.sessions, "task": f.task,
	})
}

func (f *lacking) change(work func()) func(t *testing.T) {
	return func(t *testing.T) {
		t.Helper()
		f.mu.Lock()
		defer f.mu.Unlock()
		work()
	}
}

// apiServer is a cluster's API server, with the objects that it holds by their paths. It speaks the real one's JSON and
// its rules, as far as our client goes: UIDs as preconditions, a status for each refusal.
type apiServer struct {
	door *providertest.Door

	mu      sync.Mutex
	t       *testing.T
	objects map[string]object
}

const policiesOf = "/apis/networking.k8s.io/v1/namespaces/pay/networkpolicies"

// newAPIServer starts one, of a cluster of EKS's. It is reached by TLS, through a door.
func newAPIServer(t *testing.T, f *lacking) *apiServer {
	t.Helper()
	s := &apiServer{t: t, objects: map[string]object{
		"/api/v1/namespaces/pay/pods/till-1": {
			"metadata": object{
				"name": "till-1", "namespace": "pay", "uid": "5e1f0d5e-0001", "labels": object{"app": "till"},
				"ownerReferences": []any{object{"kind": "ReplicaSet", "name": "till"}},
			},
			"spec": object{"nodeName": "node-1.internal", "serviceAccountName": "till"}, "status": object{"phase": "Running"},
		},
		"/api/v1/nodes/node-1.internal": {"metadata": object{"name": "node-1.internal", "uid": "n1"}, "spec": object{}},
	}}
	plain := httptest.NewServer(s)
	t.Cleanup(plain.Close)
	s.door = providertest.NewDoor(t, plain.URL)
	front := httptest.NewTLSServer(httputil.NewSingleHostReverseProxy(must[*url.URL](t)(url.Parse(s.door.URL))))
	t.Cleanup(front.Close)
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.Certificate().Raw})
	f.cluster["endpoint"] = front.URL
	f.cluster["certificateAuthority"] = object{"data": base64.StdEncoding.EncodeToString(authority)}
	return s
}

// known reports whether a token is what EKS takes: a presigned GetCallerIdentity that names the cluster.
func known(token string) bool {
	text, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token, "Bearer k8s-aws-v1."))
	if err != nil {
		return false
	}
	asked, err := url.Parse(string(text))
	if err != nil {
		return false
	}
	query := asked.Query()
	return query.Get("Action") == "GetCallerIdentity" && query.Get("X-Amz-Expires") == "60" && query.Get("X-Amz-Signature") != "" &&
		slices.Contains(strings.Split(query.Get("X-Amz-SignedHeaders"), ";"), "x-k8s-aws-id")
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body := object{}
	if text, err := io.ReadAll(r.Body); err == nil && len(text) > 0 && json.Unmarshal(text, &body) != nil {
		s.refuse(w, http.StatusBadRequest, "BadRequest")
		return
	}
	if !known(r.Header.Get("Authorization")) {
		s.refuse(w, http.StatusUnauthorized, "Unauthorized")
		return
	}
	path := r.URL.Path
	found, there := s.objects[path]
	switch {
	case r.Method == http.MethodGet && path == policiesOf:
		items := []object{}
		for _, each := range slices.Sorted(maps.Keys(s.objects)) {
			if strings.HasPrefix(each, policiesOf+"/") {
				items = append(items, s.objects[each])
			}
		}
		s.give(w, object{"kind": "NetworkPolicyList", "items": items})
	case r.Method == http.MethodPost && path == policiesOf:
		named := path + "/" + body["metadata"].(object)["name"].(string)
		if _, there := s.objects[named]; there {
			s.refuse(w, http.StatusConflict, "AlreadyExists")
			return
		}
		s.objects[named] = body
		s.give(w, body)
	case !there:
		s.refuse(w, http.StatusNotFound, "NotFound")
	case r.Method == http.MethodGet:
		s.give(w, found)
	case r.Method == http.MethodPatch && r.Header.Get("Content-Type") == "application/merge-patch+json":
		patch, _ := body["metadata"].(object)
		if uid := patch["uid"]; uid != nil && uid != found["metadata"].(object)["uid"] {
			s.refuse(w, http.StatusConflict, "Conflict")
			return
		}
		merge(found, body)
		s.give(w, found)
	case r.Method == http.MethodDelete:
		precondition, _ := body["preconditions"].(object)
		if uid := precondition["uid"]; uid != nil && uid != found["metadata"].(object)["uid"] {
			s.refuse(w, http.StatusConflict, "Conflict")
			return
		}
		delete(s.objects, path)
		s.give(w, object{"kind": "Status", "status": "Success"})
	default:
		s.refuse(w, http.StatusUnsupportedMediaType, "UnsupportedMediaType")
	}
}

// merge is RFC 7396.
func merge(into, patch object) {
	for key, value := range patch {
		below, is := value.(object)
		switch {
		case value == nil:
			delete(into, key)
		case is:
			if _, there := into[key].(object); !there {
				into[key] = object{}
			}
			merge(into[key].(object), below)
		default:
			into[key] = value
		}
	}
}

func (s *apiServer) give(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.t.Error(err)
	}
}

func (s *apiServer) refuse(w http.ResponseWriter, status int, reason string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	s.give(w, object{"kind": "Status", "status": "Failure", "reason": reason, "code": status, "message": "no"})
}

// state tells all objects. Annotations of policies are left out: they say which run it was.
func (s *apiServer) state(t *testing.T) string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var copied map[string]object
	if err := json.Unmarshal([]byte(dump(t, s.objects)), &copied); err != nil {
		t.Fatal(err)
	}
	for path, each := range copied {
		if strings.HasPrefix(path, policiesOf) {
			copied[path] = object{"spec": each["spec"]}
		}
	}
	return dump(t, copied)
}

// put sets an object; nil takes it away.
func (s *apiServer) put(path string, o object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o == nil {
		delete(s.objects, path)
		return
	}
	s.objects[path] = o
}
