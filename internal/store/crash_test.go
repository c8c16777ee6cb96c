package store_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/riposte-sec/riposte/internal/ledger"
	"github.com/riposte-sec/riposte/internal/store"
	"github.com/riposte-sec/riposte/internal/store/storetest"
)

// victimOf names the store that this binary, started again by a test, writes to until it is killed.
const victimOf = "RIPOSTE_STORE_VICTIM"

func TestMain(m *testing.M) {
	if dsn := os.Getenv(victimOf); dsn != "" {
		victim(dsn)
		return
	}
	os.Exit(m.Run())
}

// victim writes from several goroutines, and says of each decision that it is durable once it is.
func victim(dsn string) {
	ctx := context.Background()
	signer, err := ledger.LoadOrCreateKey(os.Getenv(victimOf + "_KEY"))
	if err != nil {
		panic(err)
	}
	s, err := store.Open(ctx, dsn, store.Options{Key: signer})
	if err != nil {
		panic(err)
	}
	out := make(chan string)
	for n := range 8 {
		go func() {
			for i := 0; ; i++ {
				d := opened(fmt.Sprintf("%d-%d-%d", os.Getpid(), n, i))
				if err := s.Update(ctx, func(tx *store.Tx) error { return tx.Save(ctx, d) }); err != nil {
					panic(err)
				}
				out <- d.Incident.ID
			}
		}()
	}
	for id := range out {
		fmt.Println(id) // the parent reads it
	}
}

// TestKilledInTheMiddle kills a process that writes, again and again, and looks whether all that it was
// told to be durable is there and the ledger verifies.
func TestKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	for name, dsn := range map[string]func(testing.TB) string{
		"sqlite":   func(tb testing.TB) string { tb.Helper(); return filepath.Join(tb.TempDir(), "riposte.db") },
		"postgres": storetest.Postgres,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address, keyFile := dsn(t), filepath.Join(t.TempDir(), "ledger.key")
			var told []string
			for range 8 {
				told = append(told, killed(t, address, keyFile, 1+rand.IntN(150))...)
				signer, err := ledger.LoadOrCreateKey(keyFile)
				if err != nil {
					t.Fatal(err)
				}
				s, err := store.Open(t.Context(), address, store.Options{Key: signer})
				if err != nil {
					t.Fatal(err)
				}
				for _, id := range told {
					if _, err := s.Incident(t.Context(), id); err != nil {
						t.Errorf("told durable and lost: %v", err)
					}
				}
				if report, err := s.VerifyLedger(t.Context()); err != nil || report.Size < int64(2*len(told)) {
					t.Errorf("%d entries for %d decisions, %v", report.Size, len(told), err)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// killed starts a victim, kills it after it told of some decisions, and gives all that it told of.
func killed(t *testing.T, dsn, keyFile string, after int) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), victimOf+"="+dsn, victimOf+"_KEY="+keyFile)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var told []string
	var once sync.Once
	for lines := bufio.NewScanner(out); lines.Scan(); {
		told = append(told, lines.Text())
		if len(told) >= after {
			once.Do(func() {
				if err := cmd.Process.Kill(); err != nil {
					t.Error(err)
				}
			})
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the victim ended by itself")
	}
	return told
}
