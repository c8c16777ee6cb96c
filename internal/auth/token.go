package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"math/big"
	"strings"
)

// A token is the prefix, 32 random bytes and a checksum, in base 62. The prefix lets scanners find tokens
// that got into a repository; the checksum lets them, and us, tell one from a text that looks like it.
const (
	prefix      = "rip_"
	randomBytes = 32
	bodyDigits  = 43 // 62^43 > 2^256
	sumDigits   = 6  // 62^6 > 2^32
	base        = 62
	tokenLength = len(prefix) + bodyDigits + sumDigits
)

// Generate makes a token, to be shown once, and its hash, to be configured.
func Generate() (token, hash string, err error) {
	random := make([]byte, randomBytes)
	if _, err := rand.Read(random); err != nil {
		return "", "", fmt.Errorf("make token: %w", err)
	}
	body := digits(new(big.Int).SetBytes(random), bodyDigits)
	token = prefix + body + checksum(body)
	return token, Hash(token), nil
}

// Hash is what is configured of a token. The token's 256 random bits make a slow hash needless.
func Hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// CheckForm says whether a text may be a token at all. Its errors don't quote the text.
func CheckForm(text string) error {
	body, ok := strings.CutPrefix(text, prefix)
	if !ok || len(text) != tokenLength {
		return fmt.Errorf("this is no token: one begins with %s and has %d characters", prefix, tokenLength)
	}
	for i := range len(body) {
		if !isDigit(body[i]) {
			return errors.New("this is no token: there is a character in it that no token has")
		}
	}
	if checksum(body[:bodyDigits]) != body[bodyDigits:] {
		return errors.New("the token is mistyped or cut: its checksum is wrong")
	}
	return nil
}

func isDigit(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func checksum(body string) string {
	return digits(new(big.Int).SetUint64(uint64(crc32.ChecksumIEEE([]byte(body)))), sumDigits)
}

// digits writes a number in base 62 with zeros before it.
func digits(n *big.Int, width int) string {
	text := n.Text(base)
	return strings.Repeat("0", width-len(text)) + text
}

// find looks at every token, so that the time it takes tells nothing.
func (k *Keeper) find(hash [sha256.Size]byte) (known, bool) {
	at := -1
	for i := range k.tokens {
		same := subtle.ConstantTimeCompare(k.tokens[i].hash[:], hash[:])
		at = subtle.ConstantTimeSelect(same, i, at)
	}
	if at < 0 {
		return known{}, false
	}
	return k.tokens[at], true
}
