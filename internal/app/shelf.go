package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/riposte-sec/riposte/internal/fault"
)

// look is the time between two looks at the files of the content.
const look = 2 * time.Second

// shelf holds the content in force, and takes new content when its files change: all of it or nothing. Where
// the new is wrong, the old stays in force and Check says why.
type shelf struct {
	load   func() (*Content, error)
	paths  []string                                    // files and folders whose change is followed
	placed func(ctx context.Context, c *Content) error // is told before content comes into force
	now    func() time.Time
	logger *slog.Logger

	current atomic.Pointer[Content]

	mu      sync.Mutex
	taken   string // what the files were like when they were last loaded
	seen    string // what they were like at the last look
	trouble error
}

// Content gives what is in force.
func (s *shelf) Content() *Content { return s.current.Load() }

// Check tells why new content couldn't be taken, nil if all that is in the files is in force.
func (s *shelf) Check(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trouble == nil {
		return nil
	}
	return fmt.Errorf("the files changed and can't be taken; what was in force before still is: %w", s.trouble)
}

// Run follows the files until ctx ends.
func (s *shelf) Run(ctx context.Context) error {
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			s.look(ctx)
		}
	}
}

// look takes the files where they changed and have come to rest, or where a filter in force has ended.
func (s *shelf) look(ctx context.Context) {
	now := state(s.paths)
	s.mu.Lock()
	rests := now == s.seen
	changed := now != s.taken
	s.seen = now
	s.mu.Unlock()
	if rests && changed {
		if err := s.take(ctx, now); err != nil {
			s.logger.ErrorContext(ctx, "new rules or playbooks can't be taken; those before stay in force", "err", err.Error())
		}
	}
	s.end(ctx)
}

// end takes filters out of force whose time is over, whatever the files are like meanwhile.
func (s *shelf) end(ctx context.Context) {
	old, now := s.Content(), s.now()
	if old.Until.IsZero() || now.Before(old.Until) {
		return
	}
	if err := s.put(ctx, func() (*Content, error) { return old.at(now) }); err != nil {
		s.logger.ErrorContext(ctx, "a filter has ended and can't be taken out of force", "err", err.Error())
	}
}

// take loads the content and puts it in force. Where that fails for a passing reason, the next look tries again.
func (s *shelf) take(ctx context.Context, files string) error {
	err := s.put(ctx, s.load)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !fault.Is(err, fault.Transient) {
		s.taken = files
	}
	s.seen, s.trouble = files, err
	return err
}

// put makes a content and puts it in force.
func (s *shelf) put(ctx context.Context, made func() (*Content, error)) error {
	c, err := made()
	if err == nil {
		err = s.placed(ctx, c)
	}
	if err != nil {
		return err
	}
	s.current.Store(c)
	debug.FreeOSMemory() // reading and compiling took several times what is kept
	return nil
}

// state is a digest of what files and folders are like: their names, sizes and times, not what is in them.
func state(paths []string) string {
	h := sha256.New()
	for _, root := range paths {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if entry.IsDir() {
				return nil
			}
			about, err := os.Stat(path) // of what a link leads to
			if err != nil {
				return err
			}
			fmt.Fprintf(h, "%q %d %d\n", path, about.Size(), about.ModTime().UnixNano())
			return nil
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			fmt.Fprintf(h, "%q %v\n", root, err)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}
