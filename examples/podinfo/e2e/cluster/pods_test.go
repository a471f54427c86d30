package cluster

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"

	"seatrial.invalid/examples/podinfo/e2e/internal/podinfo"
)

func TestLogsTellOfTheStart(t *testing.T) {
	app := podinfo.Installed(t)
	logs, err := app.Cluster.CoreV1().Pods(app.Namespace).GetLogs(app.Pod(t).Name, &corev1.PodLogOptions{}).DoRaw(t.Context())
	podinfo.Must(t, err, "read the logs")
	for _, want := range []string{"Starting podinfo", podinfo.Revision} {
		if !bytes.Contains(logs, []byte(want)) {
			t.Errorf("%q is not in the logs: %.500s", want, logs)
		}
	}
}

func TestExecRunsTheClientInThePod(t *testing.T) {
	app := podinfo.Installed(t)
	pod := app.Pod(t).Name
	var version struct{ Version string }
	podinfo.Do(t, 200, "GET", app.URL("/version"), "").JSON(t, &version)

	output, err := exec(t, app, pod, "podcli", "version")
	podinfo.Must(t, err, "podcli version: %s", output)
	if got := strings.TrimSpace(output); got != version.Version {
		t.Errorf("podcli is version %q, podinfo %q", got, version.Version)
	}
	if output, err = exec(t, app, pod, "podcli", "check", "grpc", "localhost:9999", "--service=podinfo", "--delay=10ms"); err != nil {
		t.Errorf("the gRPC health check fails: %v: %s", err, output)
	}
	if output, err = exec(t, app, pod, "podcli", "check", "tcp", "localhost:1", "--delay=10ms"); err == nil {
		t.Errorf("a check of a closed port passes: %s", output)
	}
}

func TestCrashedContainerIsRestartedAndKeepsItsVolume(t *testing.T) {
	app := podinfo.Copy(t, podinfo.Replicas(1))
	pod := app.Pod(t)
	var stored struct{ Hash string }
	podinfo.Do(t, 202, "POST", podinfo.PodURL(pod, "/store"), "survivor").JSON(t, &stored)

	// The server ends before it answers.
	if answer, err := podinfo.Try(t.Context(), "GET", podinfo.PodURL(pod, "/panic"), ""); err == nil {
		t.Fatalf("/panic answered %v", answer)
	}
	app.WaitPod(t, pod.Name, time.Minute, "a restarted, ready container", func(p *corev1.Pod) bool {
		return p.Status.ContainerStatuses[0].RestartCount == 1 && podinfo.Ready(p)
	})
	ended := app.Pod(t).Status.ContainerStatuses[0].LastTerminationState.Terminated
	if ended == nil || ended.ExitCode != 255 {
		t.Errorf("want the last end recorded with exit code 255, got %+v", ended)
	}
	if got := podinfo.Do(t, 202, "GET", podinfo.PodURL(pod, "/store/"+stored.Hash), "").Body; got != "survivor" {
		t.Errorf("stored %q before the restart, read %q after it", "survivor", got)
	}
}

func TestUnhealthyContainerIsRestarted(t *testing.T) {
	app := podinfo.CopyUnready(t, podinfo.Replicas(1), podinfo.Args("--unhealthy=true"))
	podinfo.Until(t, app.Cluster.CoreV1().Pods(app.Namespace), podinfo.PodsOf, time.Minute, "a restart by the liveness probe",
		func(list *corev1.PodList) (bool, any) {
			if len(list.Items) != 1 || len(list.Items[0].Status.ContainerStatuses) != 1 {
				return false, "no container yet"
			}
			status := list.Items[0].Status.ContainerStatuses[0]
			return status.RestartCount > 0, status
		})
	events := metav1.ListOptions{FieldSelector: "reason=Unhealthy"}
	podinfo.Until(t, app.Cluster.CoreV1().Events(app.Namespace), events, 10*time.Second, "an event that says why",
		func(list *corev1.EventList) (bool, any) {
			for _, event := range list.Items {
				if strings.Contains(event.Message, "Liveness probe failed") {
					return true, nil
				}
			}
			return false, fmt.Sprintf("%d events of reason Unhealthy", len(list.Items))
		})
}

func TestRequestInFlightOutlivesTheEndOfItsPod(t *testing.T) {
	app := podinfo.Copy(t, podinfo.Replicas(1))
	pod := app.Pod(t)
	type result struct {
		answer podinfo.Answer
		err    error
	}
	done := make(chan result, 1)
	go func() {
		answer, err := podinfo.Try(t.Context(), "GET", podinfo.PodURL(pod, "/delay/2"), "")
		done <- result{answer, err}
	}()
	// Delete once podinfo has the request: then it is one of the goroutines that wait.
	podinfo.Eventually(t, 5*time.Second, "the request to be in flight", func(ctx context.Context) (bool, any) {
		stacks, err := podinfo.Try(ctx, "GET", podinfo.PodURL(pod, "/debug/pprof/goroutine?debug=2"), "")
		return err == nil && strings.Contains(stacks.Body, "delayHandler"), fmt.Sprint(stacks.Status, err)
	})
	err := app.Cluster.CoreV1().Pods(app.Namespace).Delete(t.Context(), pod.Name, metav1.DeleteOptions{})
	podinfo.Must(t, err, "delete %s", pod.Name)

	// From the signal on it says that it is not ready, and still answers.
	podinfo.Eventually(t, 5*time.Second, "/readyz to say no", func(ctx context.Context) (bool, any) {
		answer, err := podinfo.Try(ctx, "GET", podinfo.PodURL(pod, "/readyz"), "")
		return err == nil && answer.Status == 503, fmt.Sprint(answer, err)
	})
	got := <-done
	if got.err != nil || got.answer.Status != 200 {
		t.Errorf("the request that was under way: %v %v", got.answer, got.err)
	}
	app.WaitRolledOut(t, time.Minute)
}

func TestDisruptionBudgetHoldsBackEvictions(t *testing.T) {
	app := podinfo.Copy(t, podinfo.Replicas(2))
	ctx := t.Context()
	budgets := app.Cluster.PolicyV1().PodDisruptionBudgets(app.Namespace)
	two := intstr.FromInt32(2)
	budget, err := budgets.Create(ctx, &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: podinfo.Name},
		Spec: policyv1.PodDisruptionBudgetSpec{
			MinAvailable: &two,
			Selector:     &metav1.LabelSelector{MatchLabels: map[string]string{"app": podinfo.Name}},
		},
	}, metav1.CreateOptions{})
	podinfo.Must(t, err, "create the budget")
	waitAllowed := func(want int32) {
		podinfo.Until(t, budgets, podinfo.Named(podinfo.Name), 20*time.Second, fmt.Sprintf("%d allowed disruptions", want),
			func(list *policyv1.PodDisruptionBudgetList) (bool, any) {
				status := list.Items[0].Status
				return status.ObservedGeneration == list.Items[0].Generation && status.CurrentHealthy == 2 && status.DisruptionsAllowed == want, status
			})
	}
	evict := func() error {
		eviction := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: app.Pod(t).Name, Namespace: app.Namespace}}
		return app.Cluster.PolicyV1().Evictions(app.Namespace).Evict(ctx, eviction)
	}

	waitAllowed(0)
	if err := evict(); !apierrors.IsTooManyRequests(err) {
		t.Fatalf("an eviction beyond the budget: want it refused for now, got %v", err)
	}
	patch := []byte(`{"spec":{"minAvailable":1}}`)
	_, err = budgets.Patch(ctx, budget.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	podinfo.Must(t, err, "widen the budget")
	waitAllowed(1)
	podinfo.Must(t, evict(), "evict within the budget")
	app.WaitRolledOut(t, time.Minute)
}

func TestSecretSignsTokens(t *testing.T) {
	app := podinfo.Copy(t, podinfo.Replicas(0))
	_, err := app.Cluster.CoreV1().Secrets(app.Namespace).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "signing"},
		StringData: map[string]string{"key": "known to this copy only"},
	}, metav1.CreateOptions{})
	podinfo.Must(t, err, "create the Secret")
	update(t, app, podinfo.Replicas(1), func(d *appsv1.Deployment) {
		variable := corev1.EnvVar{Name: "PODINFO_JWT_SECRET", ValueFrom: &corev1.EnvVarSource{}}
		variable.ValueFrom.SecretKeyRef = &corev1.SecretKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: "signing"}, Key: "key",
		}
		container := podinfo.Container(d)
		container.Env = append(container.Env, variable)
	})
	app.WaitRolledOut(t, time.Minute)

	var issued struct{ Token string }
	podinfo.Do(t, 200, "POST", app.URL("/token"), "wilma").JSON(t, &issued)
	validate := func(app *podinfo.App) (code int, name string) {
		var answer struct {
			Code int
			Name string `json:"token_name"`
		}
		podinfo.Do(t, 200, "GET", app.URL("/token/validate"), "", "Authorization: Bearer "+issued.Token).JSON(t, &answer)
		return answer.Code, answer.Name
	}
	if code, name := validate(app); name != "wilma" {
		t.Errorf("the copy refuses its own token with code %d", code)
	}
	if code, name := validate(podinfo.Installed(t)); code != 401 {
		t.Errorf("the installed podinfo accepts the copy's token of %q, code %d", name, code)
	}
}

func TestJobChecksTheService(t *testing.T) {
	app := podinfo.Installed(t)
	namespace := podinfo.NewNamespace(t, app.Cluster)
	jobs := app.Cluster.BatchV1().Jobs(namespace)
	for name, url := range map[string]string{"good": app.URL("/healthz"), "bad": app.URL("/no/such/path")} {
		_, err := jobs.Create(t.Context(), job(name, app.Deployment(t), "podcli", "check", "http", url, "--delay=10ms"), metav1.CreateOptions{})
		podinfo.Must(t, err, "create job %s", name)
	}
	for name, want := range map[string]batchv1.JobConditionType{"good": batchv1.JobComplete, "bad": batchv1.JobFailed} {
		podinfo.Until(t, jobs, podinfo.Named(name), time.Minute, fmt.Sprintf("job %s to be %s", name, want),
			func(list *batchv1.JobList) (bool, any) {
				for _, condition := range list.Items[0].Status.Conditions {
					if condition.Type == want && condition.Status == corev1.ConditionTrue {
						return true, nil
					}
				}
				return false, list.Items[0].Status
			})
	}
}

func TestStatefulSetKeepsItsVolumeClaim(t *testing.T) {
	cluster := podinfo.Connect(t)
	installed := podinfo.Installed(t).Deployment(t)
	app := &podinfo.App{Cluster: cluster, Namespace: podinfo.NewNamespace(t, cluster)}
	one := int32(1)
	template := *installed.Spec.Template.DeepCopy()
	template.Spec.Volumes = nil // "data" is the claim below, not the shipped emptyDir
	claim := corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "data"},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("16Mi")}},
		},
	}
	_, err := cluster.AppsV1().StatefulSets(app.Namespace).Create(t.Context(), &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: podinfo.Name},
		Spec: appsv1.StatefulSetSpec{
			Replicas:             &one,
			ServiceName:          podinfo.Name,
			Selector:             installed.Spec.Selector,
			Template:             template,
			VolumeClaimTemplates: []corev1.PersistentVolumeClaim{claim},
		},
	}, metav1.CreateOptions{})
	podinfo.Must(t, err, "create the StatefulSet")

	const name = podinfo.Name + "-0"
	app.WaitPod(t, name, time.Minute, name+" to be ready (its claim needs a default StorageClass)", podinfo.Ready)
	pod := app.Pod(t)
	var stored struct{ Hash string }
	podinfo.Do(t, 202, "POST", podinfo.PodURL(pod, "/store"), "ballast").JSON(t, &stored)

	podinfo.Must(t, cluster.CoreV1().Pods(app.Namespace).Delete(t.Context(), name, metav1.DeleteOptions{}), "delete %s", name)
	app.WaitPod(t, name, time.Minute, "a new, ready "+name, func(p *corev1.Pod) bool {
		return p.UID != pod.UID && podinfo.Ready(p)
	})
	if got := podinfo.Do(t, 202, "GET", podinfo.PodURL(app.Pod(t), "/store/"+stored.Hash), "").Body; got != "ballast" {
		t.Errorf("the first pod stored %q, the second reads %q", "ballast", got)
	}
}

// job runs a command once in the image of a Deployment.
func job(name string, deployment *appsv1.Deployment, command ...string) *batchv1.Job {
	none := int32(0)
	made := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: name}}
	made.Spec.BackoffLimit = &none
	made.Spec.Template.Spec = corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever,
		Containers:    []corev1.Container{{Name: name, Image: podinfo.Container(deployment).Image, Command: command}},
	}
	return made
}

// exec runs a command in podinfo's container; its output is returned also when it fails.
func exec(t *testing.T, app *podinfo.App, pod string, command ...string) (string, error) {
	t.Helper()
	request := app.Cluster.CoreV1().RESTClient().Post().Resource("pods").Namespace(app.Namespace).Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Command: command, Stdout: true, Stderr: true}, scheme.ParameterCodec)
	executor, err := remotecommand.NewWebSocketExecutor(app.Cluster.Config, "GET", request.URL().String())
	podinfo.Must(t, err, "prepare exec")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var stdout, stderr bytes.Buffer
	err = executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: &stdout, Stderr: &stderr})
	return stdout.String() + stderr.String(), err
}

func notReady(pod *corev1.Pod) bool { return !podinfo.Ready(pod) }
