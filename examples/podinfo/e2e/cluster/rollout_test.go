// Package cluster tests podinfo as Kubernetes runs it: roll-outs, probes,
// Services, scaling and the loss of pods.
package cluster

import (
	"context"
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"

	"seatrial.invalid/examples/podinfo/e2e/internal/podinfo"
)

func TestInstalledWithTwoReplicas(t *testing.T) {
	app := podinfo.Installed(t)
	deployment := app.Deployment(t)
	if got := *deployment.Spec.Replicas; got != 2 {
		t.Fatalf("want 2 replicas, the Deployment asks for %d", got)
	}
	pods := app.Pods(t)
	if len(pods) != 2 {
		t.Fatalf("want 2 pods, got %d", len(pods))
	}
	images := map[string]bool{}
	for _, pod := range pods {
		images[pod.Status.ContainerStatuses[0].ImageID] = true
	}
	if len(images) != 1 || images[""] {
		t.Errorf("the pods run different images: %v", images)
	}
}

func TestShippedProbesAndResourcesAreInPlace(t *testing.T) {
	app := podinfo.Installed(t)
	pod := app.Pod(t)
	container := pod.Spec.Containers[0]
	for name, probe := range map[string]*corev1.Probe{"readiness": container.ReadinessProbe, "liveness": container.LivenessProbe} {
		if probe == nil || probe.Exec == nil || probe.Exec.Command[0] != "podcli" {
			t.Errorf("%s probe: want podcli in the container, got %+v", name, probe)
		}
	}
	if got := container.Resources.Limits.Memory().String(); got != "512Mi" {
		t.Errorf("memory limit: want 512Mi, got %s", got)
	}
	if pod.Status.QOSClass != corev1.PodQOSBurstable {
		t.Errorf("quality of service: want Burstable, got %s", pod.Status.QOSClass)
	}
}

func TestScaleUpAndDown(t *testing.T) {
	app := podinfo.Copy(t, podinfo.Replicas(1))
	for _, replicas := range []int32{3, 1, 0, 2} {
		scale(t, app, replicas)
		app.WaitRolledOut(t, time.Minute)
	}
}

func TestChangedEnvironmentRollsOut(t *testing.T) {
	app := podinfo.Copy(t, podinfo.Replicas(1))
	old := app.Pod(t).Name
	update(t, app, podinfo.Env("PODINFO_UI_MESSAGE", "all hands on deck"))
	app.WaitRolledOut(t, time.Minute)
	app.WaitAnswers(t, 15*time.Second, "with the new message and not of "+old, func(i podinfo.Info) bool {
		return i.Message == "all hands on deck" && i.Hostname != old
	})
	sets, err := app.Cluster.AppsV1().ReplicaSets(app.Namespace).List(t.Context(), podinfo.PodsOf)
	podinfo.Must(t, err, "list ReplicaSets")
	if len(sets.Items) != 2 {
		t.Errorf("want the new ReplicaSet and the old one for a roll-back, got %d", len(sets.Items))
	}
}

func TestRollingUpdateFailsNoRequest(t *testing.T) {
	app := podinfo.Copy(t, podinfo.Replicas(2))
	traffic := app.StartTraffic(t)
	update(t, app, podinfo.Env("PODINFO_UI_MESSAGE", "second watch"))
	app.WaitRolledOut(t, time.Minute)
	waitGone(t, app, 2)
	answered, failures := traffic.Stop()
	if len(failures) > 0 {
		t.Errorf("%d of %d requests failed during the update:\n%s", len(failures), answered+len(failures), first(failures))
	}
	if answered < 20 {
		t.Errorf("only %d requests were answered: too few to tell", answered)
	}
}

func TestUpdateThatNeverGetsReadyKeepsTheOldPodsAndRollsBack(t *testing.T) {
	app := podinfo.Copy(t, podinfo.Replicas(2))
	before := app.WaitEndpoints(t, time.Second, 2)
	good := app.Deployment(t).Spec.Template

	update(t, app, podinfo.Args("--unready=true"), func(d *appsv1.Deployment) {
		deadline := int32(3)
		d.Spec.ProgressDeadlineSeconds = &deadline
	})
	app.WaitDeployment(t, 30*time.Second, "the update to be given up", func(d *appsv1.Deployment) bool {
		for _, condition := range d.Status.Conditions {
			if condition.Type == appsv1.DeploymentProgressing && condition.Reason == "ProgressDeadlineExceeded" {
				return true
			}
		}
		return false
	})
	if during := app.WaitEndpoints(t, time.Second, 2); !same(before, during) {
		t.Errorf("the old pods %v served, now %v do", before, during)
	}

	update(t, app, func(d *appsv1.Deployment) { d.Spec.Template = good })
	app.WaitRolledOut(t, time.Minute)
	if after := app.WaitEndpoints(t, time.Second, 2); !same(before, after) {
		t.Errorf("after the roll-back the pods %v serve, before the update %v did", after, before)
	}
}

func TestConfigMapReachesTheRunningPod(t *testing.T) {
	app := podinfo.Copy(t, podinfo.Replicas(0))
	ctx := t.Context()
	maps := app.Cluster.CoreV1().ConfigMaps(app.Namespace)
	config, err := maps.Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "course"},
		Data:       map[string]string{"heading": "north"},
	}, metav1.CreateOptions{})
	podinfo.Must(t, err, "create the ConfigMap")

	update(t, app, podinfo.Replicas(1), podinfo.Args("--config-path=/course"), func(d *appsv1.Deployment) {
		spec := &d.Spec.Template.Spec
		volume := corev1.Volume{Name: "course"}
		volume.ConfigMap = &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: config.Name}}
		spec.Volumes = append(spec.Volumes, volume)
		container := podinfo.Container(d)
		container.VolumeMounts = append(container.VolumeMounts, corev1.VolumeMount{Name: "course", MountPath: "/course"})
	})
	app.WaitRolledOut(t, time.Minute)
	pod := app.Pod(t)
	waitHeading(t, app, pod, "north")

	config.Data["heading"] = "south"
	_, err = maps.Update(ctx, config, metav1.UpdateOptions{})
	podinfo.Must(t, err, "update the ConfigMap")
	waitHeading(t, app, pod, "south")
	if now := app.Pod(t); now.UID != pod.UID || now.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Errorf("the pod was replaced or restarted on the way")
	}
}

// waitHeading waits until the pod tells of a heading. kubelet looks at a mounted
// ConfigMap when it next has to do with the pod: up to a minute and a half by
// itself, at once when the pod changes, so the pod's annotation is changed until
// the two have met.
func waitHeading(t *testing.T, app *podinfo.App, pod *corev1.Pod, want string) {
	t.Helper()
	var nudged time.Time
	podinfo.Eventually(t, 2*time.Minute, "heading "+want+" at /configs", func(ctx context.Context) (bool, any) {
		if time.Since(nudged) > time.Second {
			nudged = time.Now()
			patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"nudged":"%d"}}}`, nudged.UnixNano())
			if _, err := app.Cluster.CoreV1().Pods(app.Namespace).Patch(ctx, pod.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
				return false, err.Error()
			}
		}
		answer, err := podinfo.Try(ctx, "GET", podinfo.PodURL(pod, "/configs"), "")
		if err != nil {
			return false, err.Error()
		}
		var configs map[string]string
		answer.JSON(t, &configs)
		return configs["heading"] == want, answer.String()
	})
}

func update(t *testing.T, app *podinfo.App, change ...func(*appsv1.Deployment)) {
	t.Helper()
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		deployment := app.Deployment(t)
		for _, apply := range change {
			apply(deployment)
		}
		_, err := app.Cluster.AppsV1().Deployments(app.Namespace).Update(t.Context(), deployment, metav1.UpdateOptions{})
		return err
	})
	podinfo.Must(t, err, "update the Deployment")
}

func scale(t *testing.T, app *podinfo.App, replicas int32) {
	t.Helper()
	deployments := app.Cluster.AppsV1().Deployments(app.Namespace)
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		scale, err := deployments.GetScale(t.Context(), podinfo.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		scale.Spec.Replicas = replicas
		_, err = deployments.UpdateScale(t.Context(), podinfo.Name, scale, metav1.UpdateOptions{})
		return err
	})
	podinfo.Must(t, err, "scale to %d", replicas)
}

// waitGone waits until only n pods are left, those on their way out included.
func waitGone(t *testing.T, app *podinfo.App, n int) {
	t.Helper()
	podinfo.Until(t, app.Cluster.CoreV1().Pods(app.Namespace), podinfo.PodsOf, time.Minute, fmt.Sprintf("only %d pods to be left", n),
		func(list *corev1.PodList) (bool, any) {
			var names []string
			for _, pod := range list.Items {
				names = append(names, pod.Name)
			}
			return len(names) == n, names
		})
}

// same tells whether two lists of names are equal but for their order.
func same(a, b []string) bool {
	in := map[string]bool{}
	for _, name := range a {
		in[name] = true
	}
	for _, name := range b {
		if !in[name] {
			return false
		}
	}
	return len(a) == len(b)
}

func first(failures []string) string {
	text := ""
	for i, failure := range failures {
		if i == 10 {
			return text + "  ...\n"
		}
		text += "  " + failure + "\n"
	}
	return text
}
