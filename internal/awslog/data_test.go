package awslog_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/riposte-sec/riposte/internal/awslog"
)

// shared gives the paths of the real data's JSON files in a folder; it skips where there are none.
func shared(tb testing.TB, folder string) []string {
	tb.Helper()
	root := filepath.Join("..", "..", "..", "shared", "data", folder)
	if _, err := os.Stat(root); err != nil {
		tb.Skipf("the data folder %s is not here", root)
	}
	var paths []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && (strings.HasSuffix(path, ".json") || strings.HasSuffix(path, ".ndjson")) {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return paths
}

// records gives every record of the files in some folders.
func records(tb testing.TB, folders ...string) [][]byte {
	tb.Helper()
	var all [][]byte
	for _, folder := range folders {
		for _, path := range shared(tb, folder) {
			file, err := os.Open(path)
			if err != nil {
				tb.Fatal(err)
			}
			err = awslog.File(file, awslog.Limits{}, func(p awslog.Piece) error {
				if p.Err != nil {
					tb.Errorf("%s record %d: %v", path, p.Index, p.Err)
				}
				all = append(all, p.Raw)
				return nil
			})
			if err != nil {
				tb.Errorf("%s: %v", path, err)
			}
			if err := file.Close(); err != nil {
				tb.Fatal(err)
			}
		}
	}
	return all
}
