package operations

import (
	"context"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	. "seatrial.invalid/reference/e2e/internal/reference"
)

func lookup(ctx context.Context, name string) ([]string, error) {
	addresses, err := Resolver.LookupHost(ctx, name+".svc.cluster.local.")
	slices.Sort(addresses)
	return addresses, err
}

func podAddresses(t *testing.T, namespace, app string) (addresses []string) {
	for _, pod := range Pods(t, namespace, app) {
		addresses = append(addresses, pod.Status.PodIP)
	}
	slices.Sort(addresses)
	return addresses
}

func TestServicesHaveNames(t *testing.T) {
	service, err := Connect(t).CoreV1().Services(Installed).Get(t.Context(), "front", metav1.GetOptions{})
	Must(t, err, "read the Service")
	for name, want := range map[string]struct {
		of   string
		list []string
	}{
		"the address of a Service":   {"front." + Installed, []string{service.Spec.ClusterIP}},
		"the pods of a headless one": {"stores." + Installed, podAddresses(t, Installed, "store")},
		"one of them":                {"store-0.stores." + Installed, podAddresses(t, Installed, "store")},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := lookup(t.Context(), want.of)
			if err != nil || !slices.Equal(got, want.list) {
				t.Errorf("want %v, got %v, %v", want.list, got, err)
			}
		})
	}
	t.Run("ports", func(t *testing.T) {
		_, records, err := Resolver.LookupSRV(t.Context(), "https", "tcp", "front."+Installed+".svc.cluster.local.")
		if err != nil || len(records) != 1 || records[0].Port != 443 {
			t.Errorf("want port 443, got %v, %v", records, err)
		}
	})
	t.Run("what is not there", func(t *testing.T) {
		got, err := lookup(t.Context(), "nothing."+Installed)
		if wrong, ok := err.(*net.DNSError); !ok || !wrong.IsNotFound {
			t.Errorf("want no such host, got %v, %v", got, err)
		}
	})
}

func waitLookup(t *testing.T, name string, want ...string) {
	t.Helper()
	slices.Sort(want)
	Eventually(t, 40*time.Second, fmt.Sprintf("%s to be %v", name, want), func(ctx context.Context) (bool, any) {
		got, err := lookup(ctx, name)
		return slices.Equal(got, want), fmt.Sprint(got, err)
	})
}

func TestNamesFollowServices(t *testing.T) {
	namespace := NewNamespace(t)
	services := Connect(t).CoreV1().Services(namespace)
	create := func(name string) string {
		made, err := services.Create(t.Context(), &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
		}, metav1.CreateOptions{})
		Must(t, err, "create Service %s", name)
		return made.Spec.ClusterIP
	}
	waitLookup(t, "first."+namespace) // not yet
	address := create("first")
	waitLookup(t, "first."+namespace, address)
	waitLookup(t, "second."+namespace)
	waitLookup(t, "second."+namespace, create("second"))
}
