package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/store"
)

// TestFullFileSystem fills a small file system of its own until nothing can be written, then makes room.
func TestFullFileSystem(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=32m,mode=700"); err != nil {
		t.Skip("needs the right to mount a file system:", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(folder, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	s := open(t, filepath.Join(folder, "riposte.db"))
	keep := func(id string) error {
		letter := event.Letter{ID: id, Raw: bytes.Repeat([]byte(id), 5000), Received: noon}
		return s.Update(t.Context(), func(tx *store.Tx) error {
			tx.Append(record.New(noon, record.LetterReplayed, "ann", id))
			return tx.SaveLetters(t.Context(), []event.Letter{letter})
		})
	}
	for round := range 3 {
		ballast := filepath.Join(folder, "ballast")
		if err := os.WriteFile(ballast, make([]byte, 32<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("got %v, want that the disk is full", err)
		}
		if info, err := os.Stat(ballast); err != nil || os.Truncate(ballast, info.Size()-400_000) != nil {
			t.Fatal("make little room", err)
		}
		var mu sync.Mutex
		var kept, refused []string
		for batch := 0; len(refused) == 0 && batch < 100; batch++ {
			var group sync.WaitGroup
			for n := range 8 {
				group.Go(func() {
					id := fmt.Sprintf("letter-%d-%d-%d", round, batch, n)
					err := keep(id)
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						kept = append(kept, id)
					} else if refused = append(refused, id); !fault.Is(err, fault.Transient) {
						t.Errorf("got %v, want that it is passing", err)
					}
				})
			}
			group.Wait()
		}
		if len(refused) == 0 {
			t.Fatal("the disk never was full")
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		for _, id := range kept {
			if _, err := s.Letter(t.Context(), id); err != nil {
				t.Errorf("told durable and lost: %v", err)
			}
		}
		for _, id := range refused {
			if _, err := s.Letter(t.Context(), id); !fault.Is(err, fault.NotFound) {
				t.Errorf("%s was refused: got %v, want that it isn't there", id, err)
			}
		}
		if _, err := s.VerifyLedger(t.Context()); err != nil {
			t.Error(err)
		}
		for _, id := range refused {
			if err := keep(id); err != nil {
				t.Errorf("with room again: %v", err)
			}
		}
		if err := s.Ping(t.Context()); err != nil {
			t.Errorf("with room again: %v", err)
		}
	}
}
