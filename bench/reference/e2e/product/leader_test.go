package product

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	. "seatrial.invalid/reference/e2e/internal/reference"
)

// waitHolder waits until a pod as wanted holds the Lease of a namespace, and tells which.
func waitHolder(t *testing.T, namespace, what string, wanted func(string) bool) (holder string) {
	t.Helper()
	Until(t, Connect(t).CoordinationV1().Leases(namespace), Named("leader"), 20*time.Second, "the Lease "+what,
		func(list *coordinationv1.LeaseList) (bool, any) {
			if len(list.Items) == 0 || list.Items[0].Spec.HolderIdentity == nil {
				return false, "no holder"
			}
			holder, _, _ = strings.Cut(*list.Items[0].Spec.HolderIdentity, "/")
			return holder != "" && wanted(holder), list.Items[0].Spec
		})
	return holder
}

func anybody(string) bool { return true }

func other(than string) func(string) bool {
	return func(holder string) bool { return holder != than }
}

func deletePod(t *testing.T, namespace, name string, options metav1.DeleteOptions) {
	t.Helper()
	Must(t, Connect(t).CoreV1().Pods(namespace).Delete(t.Context(), name, options), "delete %s", name)
}

// leading counts the pods that say that they lead.
func leading(t *testing.T, namespace string) (names []string) {
	for _, pod := range Pods(t, namespace, "leader") {
		if about, err := Ask(t.Context(), PodURL(&pod, "/")); err == nil && about.Leading {
			names = append(names, pod.Name)
		}
	}
	return names
}

func TestOneReplicaLeads(t *testing.T) {
	Eventually(t, 10*time.Second, "who holds the Lease to lead", func(context.Context) (bool, any) {
		holder := waitHolder(t, Installed, "to be held", anybody)
		got := leading(t, Installed)
		if len(got) > 1 {
			t.Fatalf("%s holds the Lease, %v lead", holder, got)
		}
		return len(got) == 1 && got[0] == holder, fmt.Sprintf("%s holds the Lease, %v lead", holder, got)
	})
	for _, pod := range Pods(t, Installed, "leader") {
		t.Run(pod.Name+" is ready", func(t *testing.T) { Do(t, 200, "GET", PodURL(&pod, "/readyz"), "") })
	}
}

func TestLeaseIsRenewed(t *testing.T) {
	leases := Connect(t).CoordinationV1().Leases(Installed)
	before, err := leases.Get(t.Context(), "leader", metav1.GetOptions{})
	Must(t, err, "read the Lease")
	if got := *before.Spec.LeaseDurationSeconds; got != 3 {
		t.Errorf("want 3 s, the Lease lasts %d", got)
	}
	for range 2 {
		Until(t, leases, Named("leader"), 5*time.Second, "the Lease to be renewed", func(list *coordinationv1.LeaseList) (bool, any) {
			spec := list.Items[0].Spec
			return spec.RenewTime.After(before.Spec.RenewTime.Time), spec
		})
		before, err = leases.Get(t.Context(), "leader", metav1.GetOptions{})
		Must(t, err, "read the Lease again")
	}
}

func TestFailoverOfTheLeader(t *testing.T) {
	namespace := NewNamespace(t)
	CopyLeader(t, namespace)
	first := waitHolder(t, namespace, "to be held", anybody)
	Ship(t, namespace, "before", map[string]any{"message": "x", "class": namespace})
	WaitDelivered(t, namespace, "before")
	// Away at once, as when its machine dies: it cannot give the Lease back.
	if answer, err := Try(t.Context(), "POST", PodURL(WaitPod(t, namespace, first, "to run", Ready), "/crash"), ""); err == nil {
		t.Fatalf("the crash answered %v", answer)
	}
	now := int64(0)
	deletePod(t, namespace, first, metav1.DeleteOptions{GracePeriodSeconds: &now})
	Ship(t, namespace, "meanwhile", map[string]any{"message": "x", "class": namespace})
	second := waitHolder(t, namespace, "to be another's", other(first))
	by := Status(WaitDelivered(t, namespace, "meanwhile"), "deliveredBy")
	if by != second && by != first {
		t.Errorf("%s led, %s leads, %s delivered", first, second, by)
	}
	WaitRolledOut(t, namespace, "leader")
}

func TestLeaderHandsOverWhenItEnds(t *testing.T) {
	namespace := NewNamespace(t)
	CopyLeader(t, namespace)
	first := waitHolder(t, namespace, "to be held", anybody)
	changes, err := Connect(t).CoordinationV1().Leases(namespace).Watch(t.Context(), Named("leader"))
	Must(t, err, "watch the Lease")
	deletePod(t, namespace, first, metav1.DeleteOptions{})
	second := waitHolder(t, namespace, "to be another's", other(first))
	given, holder := false, first
	for deadline := time.After(10 * time.Second); holder != second; {
		select {
		case event := <-changes.ResultChan():
			lease, ok := event.Object.(*coordinationv1.Lease)
			if !ok {
				t.Fatalf("the watch of the Lease ended: %v", event.Object)
			}
			holder, _, _ = strings.Cut(*lease.Spec.HolderIdentity, "/")
			given = given || holder == ""
		case <-deadline:
			t.Fatalf("%s was not told; the last that was: %q", second, holder)
		}
	}
	changes.Stop()
	if !given {
		t.Errorf("%s let the Lease run out, it did not give it back", first)
	}
	Ship(t, namespace, "after", map[string]any{"message": "x", "class": namespace})
	if by := Status(WaitDelivered(t, namespace, "after"), "deliveredBy"); by != second {
		t.Errorf("%s leads, %s delivered", second, by)
	}
}

func TestNewLeaderDoesNotDeliverAgain(t *testing.T) {
	namespace := NewNamespace(t)
	CopyLeader(t, namespace)
	for n := range 5 {
		name := fmt.Sprint("s", n)
		Ship(t, namespace, name, map[string]any{"message": "x", "class": namespace})
		WaitDelivered(t, namespace, name)
	}
	first := waitHolder(t, namespace, "to be held", anybody)
	deletePod(t, namespace, first, metav1.DeleteOptions{})
	second := waitHolder(t, namespace, "to be another's", other(first))
	Ship(t, namespace, "last", map[string]any{"message": "x", "class": namespace})
	WaitDelivered(t, namespace, "last")
	pod := WaitPod(t, namespace, second, "to run", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning })
	about, err := Ask(t.Context(), PodURL(pod, "/"))
	Must(t, err, "ask %s", second)
	if about.Deliveries != 1 {
		t.Errorf("the new leader delivered %d times, want the last only", about.Deliveries)
	}
}
