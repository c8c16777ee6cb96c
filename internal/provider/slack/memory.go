package slack

import "sync"

// remembered is how many sent messages are known again.
const remembered = 1024

// memory knows the messages that this process has sent lately, because Slack takes no idempotency token.
type memory struct {
	mu   sync.Mutex
	ids  map[string]string // by token: Slack's id of the message
	ring []string
	next int
}

func newMemory() *memory { return &memory{ids: map[string]string{}, ring: make([]string, remembered)} }

func (m *memory) find(token string) (id string, sent bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	id, sent = m.ids[token]
	return id, sent
}

func (m *memory) add(token, id string) {
	if token == "" {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.ids[token]; !known {
		delete(m.ids, m.ring[m.next])
		m.ring[m.next] = token
		m.next = (m.next + 1) % len(m.ring)
	}
	m.ids[token] = id
}
