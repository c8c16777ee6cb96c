package api

import (
	"bytes"
	"io"
	"net/http"

	"github.com/riposte-sec/riposte/internal/auth"
)

// largestSigned is the size in bytes of the largest request that is signed: it is held whole to check it.
const largestSigned = 16 << 20

// sender lets events pass from whoever has a token that may send, or from a named sender who signs.
func (s *Server) sender(next http.Handler) http.Handler {
	byToken := s.only(auth.EventsWrite, next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(auth.SignatureHeader) == "" {
			byToken.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, largestSigned))
		if err != nil {
			http.Error(w, "the body is too large or broken", http.StatusRequestEntityTooLarge)
			return
		}
		if _, err := s.Keeper.CheckSignature(r.Header, body); err != nil {
			refuse(w, err)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r)
	})
}
