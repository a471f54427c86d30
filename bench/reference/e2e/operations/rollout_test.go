// Package operations tests the product as Kubernetes runs it: roll-outs,
// probes, Services, volumes, jobs, limits, and the loss of pods.
package operations

import (
	"fmt"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/watch"

	. "seatrial.invalid/reference/e2e/internal/reference"
)

func TestInstalledWorkloadsAreHealthy(t *testing.T) {
	for _, name := range []string{"front", "leader"} {
		t.Run(name, func(t *testing.T) {
			WaitRolledOut(t, Installed, name)
			images := map[string]bool{}
			for _, pod := range Pods(t, Installed, name) {
				images[pod.Status.ContainerStatuses[0].ImageID] = true
			}
			if len(images) != 1 || images[""] {
				t.Errorf("its pods run %v", images)
			}
		})
	}
	t.Run("store", func(t *testing.T) { WaitStore(t, Installed) })
}

func TestScaleUpAndDown(t *testing.T) {
	namespace := NewNamespace(t)
	CopyFront(t, namespace, Replicas(1))
	for _, replicas := range []int32{3, 1, 2} {
		Update(t, namespace, "front", Replicas(replicas))
		WaitRolledOut(t, namespace, "front")
		WaitEndpoints(t, namespace, "front", int(replicas))
	}
}

func TestRollingUpdateFailsNoRequest(t *testing.T) {
	namespace := NewNamespace(t)
	CopyFront(t, namespace, Env("VARIANT", "old"))
	traffic := StartTraffic(t, namespace)
	Update(t, namespace, "front", Env("VARIANT", "new"))
	WaitRolledOut(t, namespace, "front")
	WaitAnswers(t, Front(namespace, "/"), "of the new version", func(a About) bool { return a.Variant == "new" })
	if failures := traffic.Stop(); len(failures) > 0 {
		t.Errorf("%d requests failed: %v", len(failures), failures)
	}
	if traffic.Answered("old") == 0 || traffic.Answered("new") == 0 {
		t.Errorf("%d answers of the old version, %d of the new", traffic.Answered("old"), traffic.Answered("new"))
	}
}

// stuck waits until the newest pod of a roll-out is not ready, and says why not.
func stuck(t *testing.T, namespace string, wanted func(corev1.ContainerStatus) bool) {
	t.Helper()
	WaitPods(t, namespace, "front", "a pod that does not get ready", func(pods []corev1.Pod) bool {
		for _, pod := range pods {
			if len(pod.Status.ContainerStatuses) == 1 && !Ready(&pod) && wanted(pod.Status.ContainerStatuses[0]) {
				return true
			}
		}
		return false
	})
}

func TestVersionThatCrashesIsRolledBack(t *testing.T) {
	namespace := NewNamespace(t)
	CopyFront(t, namespace, Env("VARIANT", "good"))
	Update(t, namespace, "front", Env("VARIANT", "bad"), Env("BROKEN", "start"))
	stuck(t, namespace, func(status corev1.ContainerStatus) bool { return status.RestartCount > 0 })
	WaitAnswers(t, Front(namespace, "/"), "of the good version", func(a About) bool { return a.Variant == "good" })
	Update(t, namespace, "front", Env("VARIANT", "good"), func(d *appsv1.Deployment) {
		container := Container(d)
		container.Env = container.Env[:len(container.Env)-1] // as it was: the old ReplicaSet again
	})
	WaitRolledOut(t, namespace, "front")
	sets, err := Connect(t).AppsV1().ReplicaSets(namespace).List(t.Context(), Labelled("front"))
	Must(t, err, "list ReplicaSets")
	if len(sets.Items) != 2 {
		t.Errorf("want the old ReplicaSet used again, there are %d", len(sets.Items))
	}
}

func TestVersionThatNeverGetsReadyTakesNoTraffic(t *testing.T) {
	namespace := NewNamespace(t)
	CopyFront(t, namespace, Env("VARIANT", "good"))
	Update(t, namespace, "front", Env("VARIANT", "bad"), Env("BROKEN", "ready"))
	stuck(t, namespace, func(status corev1.ContainerStatus) bool { return status.State.Running != nil && *status.Started })
	WaitEndpoints(t, namespace, "front", 2)
	WaitAnswers(t, Front(namespace, "/"), "of the good version", func(a About) bool { return a.Variant == "good" })
}

func TestRecreateNeverRunsTwoVersions(t *testing.T) {
	namespace := NewNamespace(t)
	CopyFront(t, namespace, Env("VARIANT", "old"), Env("DRAIN", "0s"), func(d *appsv1.Deployment) {
		d.Spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
	})
	changes, err := Connect(t).CoreV1().Pods(namespace).Watch(t.Context(), Labelled("front"))
	Must(t, err, "watch pods")
	stop := Collect(changes)
	Update(t, namespace, "front", Env("VARIANT", "new"))
	WaitRolledOut(t, namespace, "front")
	ended := map[string]bool{}
	made := 0
	for _, event := range stop() {
		pod := event.Object.(*corev1.Pod)
		isNew := slices.ContainsFunc(pod.Spec.Containers[0].Env, func(e corev1.EnvVar) bool { return e.Name == "VARIANT" && e.Value == "new" })
		switch {
		case !isNew && (event.Type == watch.Deleted || pod.Status.Phase != corev1.PodRunning):
			ended[pod.Name] = true
		case isNew && event.Type == watch.Added:
			if made++; len(ended) < 2 {
				t.Errorf("%s was made when %d of 2 old pods had ended", pod.Name, len(ended))
			}
		}
	}
	if made != 2 {
		t.Errorf("%d new pods were made", made)
	}
}

func TestUpdateKeepsToItsLimits(t *testing.T) {
	namespace := NewNamespace(t)
	CopyFront(t, namespace, Replicas(3), Env("DRAIN", "0s"), func(d *appsv1.Deployment) {
		none, one := intstr.FromInt32(0), intstr.FromInt32(1)
		d.Spec.Strategy.RollingUpdate = &appsv1.RollingUpdateDeployment{MaxSurge: &none, MaxUnavailable: &one}
	})
	deployments, err := Connect(t).AppsV1().Deployments(namespace).Watch(t.Context(), Named("front"))
	Must(t, err, "watch the Deployment")
	told := Collect(deployments)
	sets, err := Connect(t).AppsV1().ReplicaSets(namespace).Watch(t.Context(), Labelled("front"))
	Must(t, err, "watch its ReplicaSets")
	asked := Collect(sets)
	Update(t, namespace, "front", Env("VARIANT", "new"))
	WaitRolledOut(t, namespace, "front")
	for _, event := range told() {
		if status := event.Object.(*appsv1.Deployment).Status; status.AvailableReplicas < 2 {
			t.Errorf("%d pods are available", status.AvailableReplicas)
		}
	}
	// What is asked for, and not what is told of it: each ReplicaSet tells its
	// own part, one later than the other.
	pods, steps := map[string]int32{}, 0
	for _, event := range asked() {
		set := event.Object.(*appsv1.ReplicaSet)
		if pods[set.Name] != *set.Spec.Replicas {
			pods[set.Name] = *set.Spec.Replicas
			steps++
		}
		all := int32(0)
		for _, of := range pods {
			all += of
		}
		if all > 3 {
			t.Errorf("%d pods are asked for: %v", all, pods)
		}
	}
	if steps < 6 {
		t.Errorf("three pods were replaced in %d steps", steps)
	}
}

func TestStatefulSetUpdatesInPartitions(t *testing.T) {
	namespace := NewNamespace(t)
	two, one, none := int32(2), int32(1), int32(0)
	CopyStore(t, namespace, func(s *appsv1.StatefulSet) {
		s.Spec.Replicas, s.Spec.PodManagementPolicy = &two, appsv1.ParallelPodManagement
		s.Spec.UpdateStrategy.RollingUpdate = &appsv1.RollingUpdateStatefulSetStrategy{Partition: &one}
	})
	first := WaitPod(t, namespace, "store-0", "to be ready", Ready)
	updated := func(p *corev1.Pod) bool { return Ready(p) && p.Spec.Containers[0].Env[0].Value == "new" }
	UpdateStore(t, namespace, func(s *appsv1.StatefulSet) { s.Spec.Template.Spec.Containers[0].Env[0].Value = "new" })
	WaitPod(t, namespace, "store-1", "to be updated", updated)
	if now := WaitPod(t, namespace, "store-0", "to be ready", Ready); now.UID != first.UID {
		t.Error("store-0 was replaced, though it is below the partition")
	}
	UpdateStore(t, namespace, func(s *appsv1.StatefulSet) { s.Spec.UpdateStrategy.RollingUpdate.Partition = &none })
	WaitPod(t, namespace, "store-0", "to be updated", updated)
}

func TestTrafficShiftsBetweenVersions(t *testing.T) {
	namespace := NewNamespace(t)
	CopyFront(t, namespace, Replicas(1), Renamed("blue"), func(d *appsv1.Deployment) { d.Name = "front" })
	green := FrontDeployment(t, Replicas(1), Renamed("green"))
	CreateDeployment(t, namespace, green)
	WaitRolledOut(t, namespace, "green")
	traffic := StartTraffic(t, namespace)
	for _, colour := range []string{"blue", "green", "blue"} {
		selector := fmt.Sprintf(`{"spec":{"selector":{"colour":%q}}}`, colour)
		_, err := Connect(t).CoreV1().Services(namespace).Patch(t.Context(), "front", types.MergePatchType, []byte(selector), metav1.PatchOptions{})
		Must(t, err, "point the Service at %s", colour)
		WaitAnswers(t, Front(namespace, "/"), "of "+colour, func(a About) bool { return a.Variant == colour })
	}
	if failures := traffic.Stop(); len(failures) > 0 {
		t.Errorf("%d requests failed: %v", len(failures), failures)
	}
}
