package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// binaries are what is measured.
type binaries struct{ etcd, skerry string }

// build makes both sides as they are released: etcd without cgo, in the module of this folder, and Skerry by its own Makefile.
func build(ctx context.Context, dir string) (binaries, error) {
	b := binaries{etcd: filepath.Join(dir, "bin", "etcdserver"), skerry: filepath.Join(dir, "bin", "skerry")}
	etcd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", b.etcd, "./etcdserver")
	etcd.Env = append(os.Environ(), "CGO_ENABLED=0")
	for _, cmd := range []*exec.Cmd{etcd, exec.CommandContext(ctx, "make", "-C", "../../..", "build", "BIN="+filepath.Dir(b.skerry))} {
		if text, err := cmd.CombinedOutput(); err != nil {
			return b, fmt.Errorf("%s: %w\n%s", cmd, err, text)
		}
	}
	return b, nil
}

// process is one server.
type process struct {
	cmd *exec.Cmd
	log string
}

func start(bin, log string, args ...string) (*process, error) {
	f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd := exec.Command(bin, args...)
	cmd.Stdout, cmd.Stderr = f, f
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &process{cmd: cmd, log: log}, nil
}

func (p *process) stop() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// startAgain starts those that were stopped, on whatever their directories hold.
func startAgain(procs []*process) error {
	for _, p := range procs {
		if p.cmd.ProcessState == nil {
			continue
		}
		q, err := start(p.cmd.Path, p.log, p.cmd.Args[1:]...)
		if err != nil {
			return err
		}
		*p = *q
	}
	return nil
}

// cpu is what processes have spent, in user and system mode.
func cpu(of []*process) time.Duration {
	var sum int64
	for _, p := range of {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
		if err != nil {
			continue
		}
		f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+2:]))
		user, _ := strconv.ParseInt(f[11], 10, 64)
		system, _ := strconv.ParseInt(f[12], 10, 64)
		sum += user + system
	}
	return time.Duration(sum) * time.Second / 100
}

// ownCPU is what this process has spent.
func ownCPU() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// ticks are hundredths of a second of all cores.
type ticks struct{ all, idle, stolen float64 }

func (t ticks) since(then ticks) ticks {
	return ticks{t.all - then.all, t.idle - then.idle, t.stolen - then.stolen}
}

// machine is what all cores have spent, how much of it with nothing, and how much others took.
func machine() (t ticks) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return ticks{}
	}
	line, _, _ := strings.Cut(string(b), "\n")
	for i, f := range strings.Fields(line)[1:] {
		v, _ := strconv.ParseFloat(f, 64)
		if i < 8 {
			t.all += v
		}
		switch i {
		case 3, 4: // idle, and waiting for a disk
			t.idle += v
		case 7:
			t.stolen = v
		}
	}
	return t
}
