package product

import (
	"bytes"
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	. "seatrial.invalid/reference/e2e/internal/reference"
)

func contains(text []byte, what string) bool { return bytes.Contains(text, []byte(what)) }

// podPath is a path of one pod of a store, by the name that its Service gives it.
func podPath(namespace string, ordinal int, path string) string {
	return fmt.Sprintf("http://store-%d.stores.%s.svc.cluster.local:8080%s", ordinal, namespace, path)
}

func TestDataSurvivesThePod(t *testing.T) {
	namespace := NewNamespace(t)
	CopyStore(t, namespace)
	before := WaitPod(t, namespace, "store-0", "to be ready", Ready)
	Do(t, 201, "PUT", PodURL(before, "/items/s/a"), cargo)
	Must(t, Connect(t).CoreV1().Pods(namespace).Delete(t.Context(), "store-0", metav1.DeleteOptions{}), "delete store-0")
	after := WaitPod(t, namespace, "store-0", "to be another, and ready", func(p *corev1.Pod) bool { return p.UID != before.UID && Ready(p) })
	if got := Do(t, 200, "GET", PodURL(after, "/items/s/a"), "").Body; got != cargo {
		t.Errorf("stored %q, read %q", cargo, got)
	}
}

func TestDataSurvivesACrash(t *testing.T) {
	namespace := NewNamespace(t)
	CopyStore(t, namespace)
	pod := WaitPod(t, namespace, "store-0", "to be ready", Ready)
	Do(t, 201, "PUT", PodURL(pod, "/items/s/a"), cargo)
	if answer, err := Try(t.Context(), "POST", PodURL(pod, "/crash"), ""); err == nil {
		t.Fatalf("the crash answered %v", answer)
	}
	pod = WaitPod(t, namespace, "store-0", "to be restarted and ready", func(p *corev1.Pod) bool {
		return p.Status.ContainerStatuses[0].RestartCount == 1 && Ready(p)
	})
	if ended := pod.Status.ContainerStatuses[0].LastTerminationState.Terminated; ended == nil || ended.ExitCode != 3 {
		t.Errorf("want the end recorded with exit code 3, got %+v", ended)
	}
	if got := Do(t, 200, "GET", PodURL(pod, "/items/s/a"), "").Body; got != cargo {
		t.Errorf("stored %q, read %q", cargo, got)
	}
}

func TestClaimSurvivesScalingToNone(t *testing.T) {
	namespace := NewNamespace(t)
	CopyStore(t, namespace)
	Do(t, 201, "PUT", PodURL(WaitPod(t, namespace, "store-0", "to be ready", Ready), "/items/s/a"), cargo)
	claims := Connect(t).CoreV1().PersistentVolumeClaims(namespace)
	claim, err := claims.Get(t.Context(), "data-store-0", metav1.GetOptions{})
	Must(t, err, "read the claim")
	ScaleStore(t, namespace, 0)
	ScaleStore(t, namespace, 1)
	again, err := claims.Get(t.Context(), "data-store-0", metav1.GetOptions{})
	Must(t, err, "read the claim again")
	if again.UID != claim.UID || again.Spec.VolumeName != claim.Spec.VolumeName {
		t.Errorf("another claim or volume: %v and %v", claim.Spec.VolumeName, again.Spec.VolumeName)
	}
	if got := Do(t, 200, "GET", PodURL(WaitPod(t, namespace, "store-0", "to be ready", Ready), "/items/s/a"), "").Body; got != cargo {
		t.Errorf("stored %q, read %q", cargo, got)
	}
}

func TestReplicasHaveVolumesAndNamesOfTheirOwn(t *testing.T) {
	namespace := NewNamespace(t)
	CopyStore(t, namespace, func(s *appsv1.StatefulSet) {
		s.Spec.PodManagementPolicy = appsv1.ParallelPodManagement
		two := int32(2)
		s.Spec.Replicas = &two
	})
	for ordinal := range 2 {
		WaitStatus(t, 200, "GET", podPath(namespace, ordinal, "/healthz")) // its name is told by DNS
		Do(t, 201, "PUT", podPath(namespace, ordinal, "/items/s/a"), fmt.Sprint("of ", ordinal))
	}
	for ordinal := range 2 {
		t.Run(fmt.Sprint("store-", ordinal), func(t *testing.T) {
			if got := Do(t, 200, "GET", podPath(namespace, ordinal, "/items/s/a"), "").Body; got != fmt.Sprint("of ", ordinal) {
				t.Errorf("reads %q", got)
			}
		})
	}
}

func TestFrontSaysWhenTheStoreIsAway(t *testing.T) {
	namespace := NewNamespace(t)
	CopyStore(t, namespace)
	CopyFront(t, namespace, Replicas(1), OwnStore)
	url := Front(namespace, "/items/s/a")
	Do(t, 201, "PUT", url, cargo)
	ScaleStore(t, namespace, 0)
	WaitStatus(t, 502, "GET", url)
	t.Run("and is ready itself", func(t *testing.T) { Do(t, 200, "GET", Front(namespace, "/readyz"), "") })
	ScaleStore(t, namespace, 1)
	if got := WaitStatus(t, 200, "GET", url).Body; got != cargo {
		t.Errorf("stored %q, read %q", cargo, got)
	}
}

func TestStoreRollsOutItsConfiguration(t *testing.T) {
	namespace := NewNamespace(t)
	CopyStore(t, namespace)
	before := Do(t, 200, "GET", PodURL(ReadyPod(t, namespace, "store"), "/"), "").Body
	UpdateStore(t, namespace, func(s *appsv1.StatefulSet) {
		sync := &s.Spec.Template.Spec.Containers[0].Env[0].Value
		*sync = map[string]string{"true": "false", "false": "true"}[*sync]
	})
	WaitStore(t, namespace)
	if after := Do(t, 200, "GET", PodURL(ReadyPod(t, namespace, "store"), "/"), "").Body; after == before {
		t.Errorf("it says %s, before and after", after)
	}
}
