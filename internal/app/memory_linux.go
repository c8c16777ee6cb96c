package app

import (
	"bufio"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// giveBack tells the kernel that what was read of the binary so far needn't be kept in memory: a start goes through the
// beginnings of hundreds of packages that nobody comes back to. What is needed is read again, from the file's cache.
// Only what can't be written is given back, and it is an advice: where it fails (before Linux 5.4) nothing is lost.
func giveBack() {
	binary, err := os.Executable()
	if err != nil {
		return
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return
	}
	defer func() { _ = maps.Close() }()
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		fields := strings.Fields(lines.Text()) // begin-end permissions offset device inode path
		if len(fields) < 6 || fields[5] != binary || strings.Contains(fields[1], "w") {
			continue
		}
		from, to, _ := strings.Cut(fields[0], "-")
		begin, errFrom := strconv.ParseUint(from, 16, 64)
		end, errTo := strconv.ParseUint(to, 16, 64)
		if errFrom != nil || errTo != nil || end <= begin {
			continue
		}
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, uintptr(begin), uintptr(end-begin), unix.MADV_PAGEOUT)
	}
}
