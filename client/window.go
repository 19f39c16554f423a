package client

import (
	"time"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/internal/rate"
)

// A window is how many bytes of writes may be under way to one store. More than the store gets done in a short while does not make
// it faster: what is under way then goes to and fro in lumps, of which client and stores wait for each other, and ends late, or too
// late. So a window follows what the store gets done: its fastest rate of late, times the shortest time that any write took, and
// queueTime for what waits behind others on the way and in the store. Who wants more waits in the client, where it is certain that
// nothing happened.
//
// By Little's law what is under way then takes about so long, whatever is slow; if it takes less, the rate is that of the window and
// not of the store, and the window becomes larger with each look. (The product of bandwidth and delay, by the largest rate and the
// shortest time seen: BBR, Cardwell and others, "Congestion-Based Congestion Control", 2016.)
//
// INVARIANT: floor ≤ bytes ≤ most, or all are most if that is less. Only while writes wait all the time the rate is the store's.
type window struct {
	most  int // whatever the store gets done
	bytes int // may be under way now

	shortest time.Duration // that a write took which ended well; 0: none did
	began    env.Time      // when this look did
	waited   bool          // somebody waited then
	done     int           // bytes that ended well in it
	rates    rate.Recent   // of bytes
}

const (
	// windowFloor is what may always be under way: a lane with less could not tell a slow store from one of which little is asked.
	windowFloor = 512 << 10
	// windowLook is how long bytes are counted for one rate: some fsyncs of a slow disk.
	windowLook = 200 * time.Millisecond
	// windowGrowth is how many times larger a window is after a look, at most.
	windowGrowth = 2
	// queueTime is how long a write waits for others on the way and in a store, about.
	queueTime = 50 * time.Millisecond
)

func newWindow(most int) window { return window{most: most, bytes: min(windowFloor, most)} }

// ended counts a write that the store got done, and how long that took.
func (w *window) ended(bytes int, took time.Duration) {
	w.done += bytes
	if w.shortest == 0 || took < w.shortest {
		w.shortest = max(took, 1)
	}
}

// look ends a look that was long enough. waits: somebody waits now.
func (w *window) look(now env.Time, waits bool) {
	passed := now.Sub(w.began)
	if passed < windowLook {
		return
	}
	if w.waited && waits {
		fits := int(w.rates.Add(int64(w.done), passed) * (w.shortest + queueTime).Seconds())
		w.bytes = min(max(windowFloor, min(fits, windowGrowth*w.bytes)), w.most)
	}
	w.began, w.waited, w.done = now, waits, 0
}
