package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/store"
	"github.com/riposte-sec/riposte/internal/store/storetest"
)

func TestFullDisk(t *testing.T) {
	t.Parallel()
	s := open(t, filepath.Join(t.TempDir(), "riposte.db"))
	save(t, s, opened("before"))
	if err := s.Execute(t.Context(), "PRAGMA max_page_count = 1"); err != nil { // as many as there are
		t.Fatal(err)
	}
	keep := func(id string, size int) error {
		letter := event.Letter{ID: id, Raw: bytes.Repeat([]byte(id), size), Received: noon}
		return s.Update(t.Context(), func(tx *store.Tx) error {
			tx.Append(record.New(noon, record.LetterReplayed, "ann", id))
			return tx.SaveLetters(t.Context(), []event.Letter{letter})
		})
	}
	var refused, kept []string
	var mu sync.Mutex
	var group sync.WaitGroup
	for n := range 40 {
		group.Go(func() {
			id := fmt.Sprintf("letter-%d", n)
			err := keep(id, 1+n%2*20_000)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				kept = append(kept, id)
			case fault.Is(err, fault.Transient) && strings.Contains(err.Error(), "disk is full"):
				refused = append(refused, id)
			default:
				t.Errorf("got %v, want that the disk is full", err)
			}
		})
	}
	group.Wait()
	if len(refused) < 20 {
		t.Errorf("%d were refused, want at least the 20 large ones", len(refused))
	}
	if _, err := s.VerifyLedger(t.Context()); err != nil {
		t.Error(err)
	}

	if err := s.Execute(t.Context(), "PRAGMA max_page_count = 1000000"); err != nil {
		t.Fatal(err)
	}
	for _, id := range refused {
		if _, err := s.Letter(t.Context(), id); !fault.Is(err, fault.NotFound) {
			t.Errorf("%s was refused: got %v, want that it isn't there", id, err)
		}
		if err := keep(id, 20_000); err != nil {
			t.Error(err)
		}
	}
	for _, id := range kept {
		if _, err := s.Letter(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
	if report, err := s.VerifyLedger(t.Context()); err != nil || report.Size != 42 {
		t.Errorf("got %d records, %v; want 42", report.Size, err)
	}
}

// TestNothingOutsideOfTheTransaction lets a function go on after the disk was full, when SQLite may have
// ended the transaction by itself.
func TestNothingOutsideOfTheTransaction(t *testing.T) {
	t.Parallel()
	s := open(t, filepath.Join(t.TempDir(), "riposte.db"))
	if err := s.Execute(t.Context(), "PRAGMA max_page_count = 1"); err != nil {
		t.Fatal(err)
	}
	err := s.Update(t.Context(), func(tx *store.Tx) error {
		_ = tx.SaveLetters(t.Context(), []event.Letter{{ID: "large", Raw: make([]byte, 1<<20)}})
		_ = tx.SaveLetters(t.Context(), []event.Letter{{ID: "small"}})
		return nil
	})
	if !fault.Is(err, fault.Transient) {
		t.Errorf("got %v, want that the disk is full", err)
	}
	if _, err := s.Letter(t.Context(), "small"); !fault.Is(err, fault.NotFound) {
		t.Errorf("got %v, want that nothing was kept", err)
	}
}

func TestPostgresIsStoppedAndStarted(t *testing.T) {
	t.Parallel()
	server := storetest.Own(t)
	s := open(t, server.Database(t))
	save(t, s, opened("before"))

	var stop atomic.Bool
	var kept sync.Map
	succeeded, failed := make(chan bool), make(chan bool)
	tell := func(c chan<- bool) {
		select {
		case c <- true:
		default:
		}
	}
	var group sync.WaitGroup
	for n := range 4 {
		group.Go(func() {
			for i := 0; !stop.Load(); i++ {
				d := opened(fmt.Sprintf("%d-%d", n, i))
				err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.Save(t.Context(), d) })
				switch {
				case err == nil:
					kept.Store(d.Incident.ID, true)
					tell(succeeded)
				case fault.Is(err, fault.Transient):
					tell(failed)
				default:
					t.Errorf("got %v, want that it is passing", err)
				}
			}
		})
	}
	for range 2 {
		await(succeeded)
		server.Stop(t)
		await(failed)
		if err := s.Ping(t.Context()); !fault.Is(err, fault.Transient) {
			t.Errorf("ping: got %v, want that it is passing", err)
		}
		if _, err := s.Incident(t.Context(), "inc-before"); !fault.Is(err, fault.Transient) {
			t.Errorf("read: got %v, want that it is passing", err)
		}
		server.Start(t)
		await(succeeded)
	}
	stop.Store(true)
	group.Wait()
	if err := s.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	kept.Range(func(id, _ any) bool {
		if _, err := s.Incident(t.Context(), fmt.Sprint(id)); err != nil {
			t.Errorf("told durable and lost: %v", err)
		}
		return true
	})
	if _, err := s.VerifyLedger(t.Context()); err != nil {
		t.Error(err)
	}
}

// await waits until something has happened several times.
func await(happened <-chan bool) {
	for range 5 {
		<-happened
	}
}

func TestTwoNodesAppendToOneLedger(t *testing.T) {
	t.Parallel()
	dsn := storetest.Postgres(t)
	nodes := make([]*store.Store, 3)
	var opening sync.WaitGroup
	for n := range nodes { // together, on an empty database
		opening.Go(func() {
			s, err := store.Open(t.Context(), dsn, store.Options{Key: key(t)})
			if err != nil {
				t.Error(err)
				return
			}
			nodes[n] = s
		})
	}
	opening.Wait()
	if t.Failed() {
		return
	}
	var group sync.WaitGroup
	for n, s := range nodes {
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		for i := range 50 {
			group.Go(func() {
				save(t, s, opened(fmt.Sprintf("%d-%d", n, i)))
				if err := s.Update(t.Context(), func(tx *store.Tx) error {
					tx.Append(record.New(noon, record.IncidentGrew, "ann", nil))
					return errNo
				}); !errors.Is(err, errNo) {
					t.Error(err)
				}
			})
		}
	}
	group.Wait()
	for _, s := range nodes {
		if report, err := s.VerifyLedger(t.Context()); err != nil || report.Size != 300 {
			t.Errorf("got %d records, %v; want 300", report.Size, err)
		}
	}
}

// TestAnswerToCommitIsLost cuts the connection when the commit was sent, before or after the server got
// it. Either way the store finds out and each decision is kept once.
func TestAnswerToCommitIsLost(t *testing.T) {
	t.Parallel()
	for name, arrives := range map[string]bool{"after it arrived": true, "before it arrived": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cut := newCutter(t, storetest.Postgres(t), arrives)
			s := open(t, cut.dsn)
			for n := range 5 {
				cut.armed.Store(true)
				save(t, s, opened(fmt.Sprint("d", n)))
				if cut.armed.Load() {
					t.Error("the connection was not cut")
				}
			}
			entries, err := s.LedgerEntries(t.Context(), store.LedgerFilter{Kind: record.IncidentOpened})
			if err != nil || len(entries) != 5 {
				t.Errorf("%d openings are recorded, %v; want 5", len(entries), err)
			}
			if _, err := s.VerifyLedger(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// cutter stands between a store and PostgreSQL and, once armed, cuts the connection at the next commit.
type cutter struct {
	dsn     string
	server  string
	arrives bool
	armed   atomic.Bool
}

func newCutter(t *testing.T, dsn string, arrives bool) *cutter {
	t.Helper()
	address, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{server: filepath.Join(address.Query().Get("host"), ".s.PGSQL.5432"), arrives: arrives}
	address.Host, address.RawQuery = listener.Addr().String(), "sslmode=disable"
	c.dsn = address.String()
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go c.serve(client)
		}
	}()
	return c
}

func (c *cutter) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("unix", c.server)
	if err != nil {
		return
	}
	defer server.Close()
	go func() { _, _ = io.Copy(client, server) }()
	buffer := make([]byte, 1<<16)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		if bytes.Contains(buffer[:n], []byte("commit")) && c.armed.CompareAndSwap(true, false) {
			_ = client.Close() // the answer finds nobody
			if c.arrives {
				_, _ = server.Write(buffer[:n])
				_, _ = io.CopyN(io.Discard, server, 1)
			}
			return
		}
		if _, err := server.Write(buffer[:n]); err != nil {
			return
		}
	}
}
