package kube

import (
	"context"
	"log"
	"time"
)

const micro = "2006-01-02T15:04:05.000000Z07:00"

type lease struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Metadata   map[string]any `json:"metadata"`
	Spec       leaseSpec      `json:"spec"`
}

type leaseSpec struct {
	HolderIdentity       string `json:"holderIdentity"`
	LeaseDurationSeconds int    `json:"leaseDurationSeconds"`
	AcquireTime          string `json:"acquireTime,omitempty"`
	RenewTime            string `json:"renewTime,omitempty"`
	LeaseTransitions     int    `json:"leaseTransitions"`
}

// Lead runs lead while this process holds the Lease called name, as identity,
// until ctx is over. It takes over when the holder has not renewed for the
// lease's duration, by this process's own clock, and gives the Lease back at
// the end.
func (c *Client) Lead(ctx context.Context, name, identity string, duration time.Duration, lead func(context.Context)) {
	path := "/apis/coordination.k8s.io/v1/namespaces/" + c.Namespace + "/leases"
	var seen string
	var since time.Time
	var stop context.CancelFunc
	done := make(chan struct{})
	var renewed time.Time
	for {
		held, err := c.hold(ctx, path, name, identity, duration, &seen, &since)
		switch {
		case err != nil && ctx.Err() == nil:
			log.Printf("lease: %v", err)
		case held:
			renewed = time.Now()
		}
		lost := stop != nil && (err == nil && !held || time.Since(renewed) > duration*2/3)
		if held && stop == nil {
			log.Print("leading")
			var leading context.Context
			leading, stop = context.WithCancel(context.WithoutCancel(ctx))
			go func() { defer close(done); lead(leading) }()
		}
		if lost {
			log.Fatal("the lease is lost") // a new process begins from nothing
		}
		pause := duration / 6
		if held {
			pause = duration / 3
		}
		select {
		case <-time.After(pause):
			continue
		case <-ctx.Done():
		}
		if stop != nil {
			stop()
			<-done
			c.release(path, name, identity)
		}
		return
	}
}

func (c *Client) hold(ctx context.Context, path, name, identity string, duration time.Duration, seen *string, since *time.Time) (bool, error) {
	var current lease
	err := c.Do(ctx, "GET", path+"/"+name, JSON, nil, &current)
	now := time.Now().UTC().Format(micro)
	if IsCode(err, 404) {
		made := lease{"coordination.k8s.io/v1", "Lease", map[string]any{"name": name}, leaseSpec{identity, int(duration / time.Second), now, now, 0}}
		err := c.Do(ctx, "POST", path, JSON, made, nil)
		return err == nil, ignoreConflict(err)
	}
	if err != nil {
		return false, err
	}
	spec := &current.Spec
	if stamp := spec.HolderIdentity + spec.RenewTime; stamp != *seen {
		*seen, *since = stamp, time.Now()
	}
	if spec.HolderIdentity != identity {
		if spec.HolderIdentity != "" && time.Since(*since) < time.Duration(spec.LeaseDurationSeconds)*time.Second {
			return false, nil
		}
		spec.HolderIdentity, spec.AcquireTime = identity, now
		spec.LeaseTransitions++
	}
	spec.RenewTime, spec.LeaseDurationSeconds = now, int(duration/time.Second)
	err = c.Do(ctx, "PUT", path+"/"+name, JSON, current, nil) // refused when another was faster
	return err == nil, ignoreConflict(err)
}

func (c *Client) release(path, name, identity string) {
	ctx := context.Background()
	var current lease
	if err := c.Do(ctx, "GET", path+"/"+name, JSON, nil, &current); err != nil || current.Spec.HolderIdentity != identity {
		return
	}
	current.Spec.HolderIdentity = ""
	if err := c.Do(ctx, "PUT", path+"/"+name, JSON, current, nil); err != nil {
		log.Printf("lease: %v", err)
	}
}

func ignoreConflict(err error) error {
	if IsCode(err, 409) {
		return nil
	}
	return err
}
