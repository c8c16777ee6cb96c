package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/secret"
)

// The headers of a signed request.
const (
	// SenderHeader is the sender's name. It may be absent where one sender is configured.
	SenderHeader = "Riposte-Sender"
	// TimestampHeader is when the request was signed, in seconds since 1970.
	TimestampHeader = "Riposte-Timestamp"
	// SignatureHeader is v1= and the HMAC-SHA256, in hexadecimal, of the timestamp, a dot and the body.
	SignatureHeader = "Riposte-Signature"
)

// Window is how far a request's timestamp may be from now, either way. What is caught and sent again within
// it is let in again: events are deduplicated by what they are.
const Window = 5 * time.Minute

const signaturePrefix = "v1="

// CheckSignature says who signed a request. The identity may hand in events and nothing else. The error is
// of kind Denied with ErrUnauthenticated in its chain.
func (k *Keeper) CheckSignature(header http.Header, body []byte) (Identity, error) {
	timestamp, signature, err := k.signed(header)
	if err != nil {
		return Identity{}, err
	}
	name := header.Get(SenderHeader)
	if name == "" {
		name = k.only
	}
	key, exists := k.senders[name]
	if !exists {
		key = k.decoy
	}
	if !hmac.Equal(signature, mac(key, timestamp, body)) || !exists {
		return Identity{}, unauthenticated("no sender signed this")
	}
	return Identity{Name: name, Roles: []Role{EventSender}}, nil
}

// signed reads timestamp and signature; it refuses the ones that can't be right before anything is computed.
func (k *Keeper) signed(header http.Header) (timestamp string, signature []byte, err error) {
	for _, name := range []string{SenderHeader, TimestampHeader, SignatureHeader} {
		if len(header.Values(name)) > 1 {
			return "", nil, unauthenticated("there are two headers " + name)
		}
	}
	timestamp = header.Get(TimestampHeader)
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || strconv.FormatInt(seconds, 10) != timestamp {
		return "", nil, unauthenticated("needs the header " + TimestampHeader + ", in seconds since 1970")
	}
	now, window := k.now().Unix(), int64(Window/time.Second)
	if seconds < now-window || seconds > now+window {
		return "", nil, unauthenticated("the timestamp is more than " + Window.String() + " from now; check the clock")
	}
	text, ok := strings.CutPrefix(header.Get(SignatureHeader), signaturePrefix)
	signature, err = hex.DecodeString(text)
	if !ok || err != nil || len(signature) != sha256.Size {
		return "", nil, unauthenticated("needs the header " + SignatureHeader + ", v1= and 64 hexadecimal digits")
	}
	return timestamp, signature, nil
}

// Sign gives the headers by which CheckSignature knows a sender.
func Sign(sender string, key secret.Secret, at time.Time, body []byte) http.Header {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	header := http.Header{}
	header.Set(SenderHeader, sender)
	header.Set(TimestampHeader, timestamp)
	header.Set(SignatureHeader, signaturePrefix+hex.EncodeToString(mac([]byte(key.Reveal()), timestamp, body)))
	return header
}

func mac(key []byte, timestamp string, body []byte) []byte {
	sum := hmac.New(sha256.New, key)
	sum.Write([]byte(timestamp + "."))
	sum.Write(body)
	return sum.Sum(nil)
}
