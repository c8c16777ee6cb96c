// Command probe is a module for tests: it tries what its input asks for, and tells what came of it.
package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

func main() {
	var in struct {
		Do   string         `json:"do"`
		Echo map[string]any `json:"echo"`
	}
	if err := json.NewDecoder(os.Stdin).Decode(&in); err != nil {
		fmt.Fprintln(os.Stderr, "read input:", err)
		os.Exit(2)
	}
	switch in.Do {
	case "echo":
		answer(map[string]any{"echo": in.Echo, "args": os.Args, "env": len(os.Environ())})
	case "list":
		answer([]int{1, 2, 3})
	case "text":
		fmt.Print("not JSON\x1b[31m")
	case "nothing":
	case "fail":
		fmt.Fprintln(os.Stderr, "no such host: \x1b[31mweb-1", strings.Repeat("x", 5000))
		os.Exit(3)
	case "panic":
		panic("at the disco")
	case "large":
		fmt.Print(`"` + strings.Repeat("x", 65<<10) + `"`)
	case "sleep":
		time.Sleep(time.Hour)
		answer(map[string]any{"slept": true})
	case "memory":
		var kept [][]byte
		for range 1 << 20 {
			kept = append(kept, make([]byte, 1<<20))
		}
		answer(map[string]any{"blocks": len(kept)})
	case "reach":
		answer(reach())
	}
}

// reach tries to get at what is outside.
func reach() map[string]any {
	var chance [8]byte
	_, _ = rand.Read(chance[:])
	_, reading := os.ReadFile("/etc/passwd")
	_, listing := os.ReadDir("/")
	writing := os.WriteFile("out", []byte("x"), 0o600)
	_, dialing := net.Dial("tcp", "127.0.0.1:80")
	host, _ := os.Hostname()
	return map[string]any{
		"read": reading != nil, "list": listing != nil, "write": writing != nil, "dial": dialing != nil, "host": host,
		"chance": fmt.Sprintf("%x", chance), "year": time.Now().UTC().Year(),
	}
}

func answer(v any) {
	if err := json.NewEncoder(os.Stdout).Encode(v); err != nil {
		fmt.Fprintln(os.Stderr, "write output:", err)
		os.Exit(1)
	}
}
