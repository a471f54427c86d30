package cluster

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"seatrial.invalid/examples/podinfo/e2e/internal/podinfo"
)

// resolver asks the servers of /etc/resolv.conf itself: in a test's sandbox
// that is the cluster's DNS.
var resolver = &net.Resolver{PreferGo: true}

const service = podinfo.Name + "." + podinfo.Namespace + ".svc.cluster.local."

func TestServiceHasADNSName(t *testing.T) {
	app := podinfo.Installed(t)
	object, err := app.Cluster.CoreV1().Services(app.Namespace).Get(t.Context(), podinfo.Name, metav1.GetOptions{})
	podinfo.Must(t, err, "read the Service")
	addresses, err := resolver.LookupHost(t.Context(), service)
	podinfo.Must(t, err, "resolve %s", service)
	if len(addresses) != 1 || addresses[0] != object.Spec.ClusterIP {
		t.Errorf("%s: want the Service's address %s, got %v", service, object.Spec.ClusterIP, addresses)
	}
}

func TestServicePortsHaveSRVRecords(t *testing.T) {
	podinfo.Installed(t)
	for name, port := range map[string]uint16{"http": 9898, "grpc": 9999} {
		t.Run(name, func(t *testing.T) {
			_, records, err := resolver.LookupSRV(t.Context(), name, "tcp", service)
			podinfo.Must(t, err, "look up _%s._tcp.%s", name, service)
			if len(records) != 1 || records[0].Port != port {
				t.Errorf("want port %d, got %v", port, records)
			}
		})
	}
}

func TestUnknownServiceDoesNotResolve(t *testing.T) {
	name := "no-such-service." + podinfo.Namespace + ".svc.cluster.local."
	addresses, err := resolver.LookupHost(t.Context(), name)
	if lookup, ok := err.(*net.DNSError); !ok || !lookup.IsNotFound {
		t.Errorf("%s: want no such host, got %v, %v", name, addresses, err)
	}
}

func TestServiceBalancesOverAllPods(t *testing.T) {
	app := podinfo.Installed(t)
	pods := map[string]bool{}
	for _, name := range app.WaitEndpoints(t, 10*time.Second, 2) {
		pods[name] = true
	}
	seen := map[string]int{}
	// Chosen at random: 30 answers of one of two pods mean once in a billion runs.
	podinfo.Eventually(t, 30*time.Second, "answers of both pods", func(ctx context.Context) (bool, any) {
		for range 30 {
			var info podinfo.Info
			podinfo.Do(t, 200, "GET", app.URL("/api/info"), "").JSON(t, &info)
			seen[info.Hostname]++
		}
		missing := 0
		for pod := range pods {
			if seen[pod] == 0 {
				missing++
			}
		}
		return missing == 0, seen
	})
}

func TestPodThatIsNotReadyGetsNoTraffic(t *testing.T) {
	app := podinfo.Copy(t, podinfo.Replicas(2))
	pod := app.Pod(t)
	podinfo.Do(t, 202, "POST", podinfo.PodURL(pod, "/readyz/disable"), "")
	podinfo.Do(t, 503, "GET", podinfo.PodURL(pod, "/readyz"), "")
	left := app.WaitEndpoints(t, 20*time.Second, 1)
	if left[0] == pod.Name {
		t.Fatalf("%s is not ready and the only one that is left", pod.Name)
	}
	app.WaitAnswers(t, 15*time.Second, "of "+left[0], func(i podinfo.Info) bool { return i.Hostname == left[0] })

	podinfo.Do(t, 202, "POST", podinfo.PodURL(pod, "/readyz/enable"), "")
	app.WaitEndpoints(t, 20*time.Second, 2)
}

func TestShippedReadinessProbeTakesAPodOut(t *testing.T) {
	app := podinfo.Installed(t)
	pod := app.Pod(t)
	// Whatever happens, leave the pod as it was found.
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		podinfo.Try(ctx, "POST", podinfo.PodURL(pod, "/readyz/enable"), "")
	})
	podinfo.Do(t, 202, "POST", podinfo.PodURL(pod, "/readyz/disable"), "")
	app.WaitPod(t, pod.Name, 30*time.Second, pod.Name+" to be not ready", notReady)
	podinfo.Do(t, 202, "POST", podinfo.PodURL(pod, "/readyz/enable"), "")
	app.WaitRolledOut(t, 30*time.Second)
}

func TestLossOfAPodUnderTraffic(t *testing.T) {
	app := podinfo.Copy(t, podinfo.Replicas(2))
	lost := app.Pod(t)
	traffic := app.StartTraffic(t)
	podinfo.Eventually(t, 15*time.Second, "answers of "+lost.Name, func(context.Context) (bool, any) {
		return traffic.Host(lost.Name) > 0, "none"
	})

	// At once, as when the machine under it dies: no time for a graceful end.
	now := int64(0)
	err := app.Cluster.CoreV1().Pods(app.Namespace).Delete(t.Context(), lost.Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
	podinfo.Must(t, err, "delete %s", lost.Name)
	app.WaitRolledOut(t, time.Minute)
	after := traffic.Answered()
	podinfo.Eventually(t, 15*time.Second, "traffic to go on", func(context.Context) (bool, any) {
		return traffic.Answered() > after+50, fmt.Sprintf("%d answers since", traffic.Answered()-after)
	})

	answered, failures := traffic.Stop()
	// One of two pods vanishes: some requests meet it before the rules change,
	// but that is a moment, not the time a new pod takes.
	if allowed := 25 + answered/5; len(failures) > allowed {
		t.Errorf("%d requests failed and %d were answered, at most %d may fail:\n%s", len(failures), answered, allowed, first(failures))
	}
	for _, pod := range app.Pods(t) {
		if pod.Name == lost.Name {
			t.Errorf("%s is still there", lost.Name)
		}
	}
}

func TestBackendIsFoundByName(t *testing.T) {
	backend := podinfo.Copy(t, podinfo.Replicas(1))
	frontend := podinfo.Copy(t, podinfo.Replicas(1), podinfo.Args("--backend-url="+backend.URL("/echo")))
	var answers []string
	podinfo.Do(t, 200, "POST", frontend.URL("/echo"), "through two pods").JSON(t, &answers)
	if len(answers) != 1 || !strings.Contains(answers[0], "through two pods") {
		t.Errorf("want the backend's echo, got %q", answers)
	}
}
