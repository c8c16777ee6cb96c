package courier

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/fault"
)

// Key signs what is sent, as in the Standard Webhooks specification.
type Key []byte

const (
	keyPrefix = "whsec_"
	// The specification's bounds of a key, in bytes.
	shortestKey, longestKey = 24, 64
)

// ParseKey reads a signing key: whsec_ and base64. Its errors don't quote it.
func ParseKey(text string) (Key, error) {
	encoded, ok := strings.CutPrefix(text, keyPrefix)
	key, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(key) < shortestKey || len(key) > longestKey {
		return nil, fault.New(fault.Invalid, "needs %s and base64 of %d to %d random bytes, as `openssl rand -base64 32` makes",
			keyPrefix, shortestKey, longestKey)
	}
	return key, nil
}

// Sign adds the specification's headers to those of a message: its id, the time of the attempt and the signature.
func (k Key) Sign(header http.Header, id string, at time.Time, body []byte) {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, k)
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	header.Set("Webhook-Id", id)
	header.Set("Webhook-Timestamp", timestamp)
	header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}
