package operations

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	. "seatrial.invalid/reference/e2e/internal/reference"
)

func contains(text, what string) bool { return strings.Contains(text, what) }

// createPod creates a pod with a label of its name.
func createPod(t *testing.T, namespace, name string, spec corev1.PodSpec) {
	t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": name}}, Spec: spec}
	_, err := Connect(t).CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	Must(t, err, "create pod %s", name)
}

func TestUnreadyPodGetsNoTraffic(t *testing.T) {
	namespace := NewNamespace(t)
	CopyFront(t, namespace, Quick)
	pod := ReadyPod(t, namespace, "front")
	Do(t, 200, "POST", PodURL(pod, "/unready"), "")
	left := WaitEndpoints(t, namespace, "front", 1)
	WaitAnswers(t, Front(namespace, "/"), "of "+left[0], func(a About) bool { return a.Host == left[0] })
	Do(t, 200, "POST", PodURL(pod, "/ready"), "")
	WaitEndpoints(t, namespace, "front", 2)
}

func TestDeadContainerIsRestarted(t *testing.T) {
	namespace := NewNamespace(t)
	CopyFrontUnready(t, namespace, Replicas(1), Quick, Env("BROKEN", "live"), Env("DRAIN", "0s"))
	WaitPods(t, namespace, "front", "a restart by the liveness probe", func(pods []corev1.Pod) bool {
		return len(pods) == 1 && len(pods[0].Status.ContainerStatuses) == 1 && pods[0].Status.ContainerStatuses[0].RestartCount > 0
	})
	Until(t, Connect(t).CoreV1().Events(namespace), metav1.ListOptions{FieldSelector: "reason=Killing"}, 10*time.Second, "an event that says why",
		func(list *corev1.EventList) (bool, any) {
			for _, event := range list.Items {
				if contains(event.Message, "failed liveness probe") {
					return true, nil
				}
			}
			return false, len(list.Items)
		})
}

func TestRequestInFlightOutlivesItsPod(t *testing.T) {
	namespace := NewNamespace(t)
	CopyFront(t, namespace, Replicas(1), Env("DRAIN", "0s"))
	pod := ReadyPod(t, namespace, "front")
	// Its head is sent at once: from there on it is under way.
	begun, err := Begin(t.Context(), "GET", PodURL(pod, "/slow?for=3s"), "")
	Must(t, err, "begin a request")
	Must(t, Connect(t).CoreV1().Pods(namespace).Delete(t.Context(), pod.Name, metav1.DeleteOptions{}), "delete %s", pod.Name)
	if got, err := End(begun); err != nil || got.Body != "done\n" {
		t.Errorf("the request that was under way: %v %v", got, err)
	}
	WaitRolledOut(t, namespace, "front")
}

func TestLostPodIsReplaced(t *testing.T) {
	namespace := NewNamespace(t)
	CopyFront(t, namespace)
	lost := ReadyPod(t, namespace, "front")
	now := int64(0)
	Must(t, Connect(t).CoreV1().Pods(namespace).Delete(t.Context(), lost.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}), "delete %s", lost.Name)
	WaitReplaced(t, namespace, "front", lost)
	WaitEndpointsBut(t, namespace, "front", lost.Name, 2)
}

func TestEvictionKeepsToTheBudget(t *testing.T) {
	namespace := NewNamespace(t)
	CopyFront(t, namespace)
	budgets := Connect(t).PolicyV1().PodDisruptionBudgets(namespace)
	two := intstr.FromInt32(2)
	_, err := budgets.Create(t.Context(), &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: "front"},
		Spec:       policyv1.PodDisruptionBudgetSpec{MinAvailable: &two, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "front"}}},
	}, metav1.CreateOptions{})
	Must(t, err, "create the budget")
	allowed := func(want int32) {
		Until(t, budgets, Named("front"), 20*time.Second, fmt.Sprintf("%d allowed disruptions", want), func(list *policyv1.PodDisruptionBudgetList) (bool, any) {
			object := list.Items[0]
			return object.Status.ObservedGeneration == object.Generation && object.Status.CurrentHealthy == 2 && object.Status.DisruptionsAllowed == want, object.Status
		})
	}
	pod := ReadyPod(t, namespace, "front")
	evict := func() error {
		return Connect(t).PolicyV1().Evictions(namespace).Evict(t.Context(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: namespace}})
	}
	allowed(0)
	t.Run("beyond it", func(t *testing.T) {
		if err := evict(); !apierrors.IsTooManyRequests(err) {
			t.Errorf("want it refused for now, got %v", err)
		}
	})
	_, err = budgets.Patch(t.Context(), "front", types.MergePatchType, []byte(`{"spec":{"minAvailable":1}}`), metav1.PatchOptions{})
	Must(t, err, "widen the budget")
	allowed(1)
	t.Run("within it", func(t *testing.T) { Must(t, evict(), "evict") })
	WaitReplaced(t, namespace, "front", pod)
}

func TestUnschedulablePodWaitsForItsNode(t *testing.T) {
	namespace := NewNamespace(t)
	cluster := Connect(t)
	spec := FrontPod(t, "wait")
	spec.NodeSelector = map[string]string{"e2e.reference.test/" + namespace: "here"}
	createPod(t, namespace, "picky", spec)
	WaitPod(t, namespace, "picky", "to be unschedulable", func(p *corev1.Pod) bool {
		for _, condition := range p.Status.Conditions {
			if condition.Type == corev1.PodScheduled {
				return condition.Reason == corev1.PodReasonUnschedulable
			}
		}
		return false
	})
	nodes, err := cluster.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	Must(t, err, "list nodes")
	name := nodes.Items[0].Name
	label := func(ctx context.Context, value string) error {
		patch := fmt.Sprintf(`{"metadata":{"labels":{"e2e.reference.test/%s":%s}}}`, namespace, value)
		_, err := cluster.CoreV1().Nodes().Patch(ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		return err
	}
	Must(t, label(t.Context(), `"here"`), "label %s", name)
	Cleanup(t, "take the label away", func(ctx context.Context) error { return label(ctx, "null") })
	pod := WaitPod(t, namespace, "picky", "to run", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning })
	if pod.Spec.NodeName != name {
		t.Errorf("it runs on %s", pod.Spec.NodeName)
	}
}

func TestInitContainersComeFirst(t *testing.T) {
	namespace := NewNamespace(t)
	spec := FrontPod(t, "wait")
	init := *spec.Containers[0].DeepCopy()
	init.Name, init.Args = "needs-front", []string{"check", Front(Installed, "/healthz")}
	twice := *init.DeepCopy()
	twice.Name, twice.Args = "second-try", []string{"once", "/scratch/tried"}
	twice.VolumeMounts = []corev1.VolumeMount{{Name: "scratch", MountPath: "/scratch"}}
	spec.Volumes = []corev1.Volume{{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	spec.InitContainers = []corev1.Container{init, twice}
	spec.RestartPolicy = corev1.RestartPolicyAlways
	createPod(t, namespace, "late", spec)
	pod := WaitPod(t, namespace, "late", "to run", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning })
	restarts := []int32{pod.Status.InitContainerStatuses[0].RestartCount, pod.Status.InitContainerStatuses[1].RestartCount}
	if restarts[0] != 0 || restarts[1] != 1 {
		t.Errorf("want the second retried once, got restarts %v", restarts)
	}
	first, second := pod.Status.InitContainerStatuses[0].State.Terminated, pod.Status.InitContainerStatuses[1].State.Terminated
	if second.StartedAt.Before(&first.FinishedAt) {
		t.Errorf("the second began at %v, the first ended at %v", second.StartedAt, first.FinishedAt)
	}
}

func TestOutOfMemoryIsContained(t *testing.T) {
	namespace := NewNamespace(t)
	spec := FrontPod(t, "wait")
	spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("16Mi")}
	greedy := *spec.Containers[0].DeepCopy()
	greedy.Name, greedy.Args = "greedy", []string{"eat"}
	spec.Containers = append(spec.Containers, greedy)
	createPod(t, namespace, "pair", spec)
	pod := WaitPod(t, namespace, "pair", "to have a killed container", func(p *corev1.Pod) bool {
		for _, status := range p.Status.ContainerStatuses {
			if status.Name == "greedy" && status.State.Terminated != nil {
				return true
			}
		}
		return false
	})
	for _, status := range pod.Status.ContainerStatuses {
		switch ended := status.State.Terminated; {
		// The reason comes from another source than the end, and may be late.
		case status.Name == "greedy" && ended.Reason != "OOMKilled" && ended.ExitCode != 137:
			t.Errorf("greedy ended with %+v", ended)
		case status.Name == "main" && ended != nil:
			t.Errorf("its neighbour ended with %+v", ended)
		}
	}
}
