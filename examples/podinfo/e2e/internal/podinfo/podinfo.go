// Package podinfo is what the two suites share: a client of the cluster, the
// installed podinfo, copies of it that a test may break, and waits that end
// with the last state seen.
//
// Tests run in any order and several at once. What is installed is only read,
// or disturbed in ways that it recovers from; every other test works on a copy
// in a namespace of its own.
package podinfo

import (
	"context"
	"encoding/json"
	"os"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Namespace and Name are where the product is installed.
const (
	Namespace = "podinfo"
	Name      = "podinfo"
)

// Revision is the commit that podinfo was built from; set at link time.
var Revision = "unset"

// Cluster is the cluster under test.
type Cluster struct {
	kubernetes.Interface
	Config *rest.Config
}

// Connect makes a client from $KUBECONFIG.
func Connect(t testing.TB) *Cluster {
	t.Helper()
	path := os.Getenv("KUBECONFIG")
	if path == "" {
		t.Fatal("KUBECONFIG is not set: these tests need a cluster with podinfo installed")
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	Must(t, err, "read %s", path)
	config.QPS, config.Burst = 200, 400
	client, err := kubernetes.NewForConfig(config)
	Must(t, err, "make a client")
	return &Cluster{Interface: client, Config: config}
}

// App is one podinfo in the cluster: a Deployment and the Service before it.
type App struct {
	Cluster   *Cluster
	Namespace string
}

// Installed is the podinfo that was installed before the tests, with all its
// replicas ready: another test may have taken a pod away a moment ago.
func Installed(t testing.TB) *App {
	t.Helper()
	app := &App{Cluster: Connect(t), Namespace: Namespace}
	app.WaitRolledOut(t, time.Minute)
	return app
}

// Copy starts a second podinfo from the installed Deployment and Service in a
// namespace that goes away with the test, and waits until it is rolled out.
// Probes go by HTTP once a second, where the shipped ones start a program in
// the container, so that copies are cheap and tests need not wait long.
func Copy(t testing.TB, change ...func(*appsv1.Deployment)) *App {
	t.Helper()
	app := CopyUnready(t, change...)
	app.WaitRolledOut(t, time.Minute)
	return app
}

// CopyUnready is Copy for a podinfo that is not expected to become ready.
func CopyUnready(t testing.TB, change ...func(*appsv1.Deployment)) *App {
	t.Helper()
	cluster := Connect(t)
	app := &App{Cluster: cluster, Namespace: NewNamespace(t, cluster)}
	ctx := t.Context()

	deployment := (&App{Cluster: cluster, Namespace: Namespace}).Deployment(t)
	deployment.ObjectMeta = metav1.ObjectMeta{Name: Name}
	deployment.Status = appsv1.DeploymentStatus{}
	container := Container(deployment)
	container.ReadinessProbe = httpProbe("/readyz")
	container.LivenessProbe = httpProbe("/healthz")
	container.Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("20m")}
	for _, apply := range change {
		apply(deployment)
	}
	_, err := cluster.AppsV1().Deployments(app.Namespace).Create(ctx, deployment, metav1.CreateOptions{})
	Must(t, err, "create the copy's Deployment")

	installed, err := cluster.CoreV1().Services(Namespace).Get(ctx, Name, metav1.GetOptions{})
	Must(t, err, "read the installed Service")
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: Name},
		Spec: corev1.ServiceSpec{
			Type:     installed.Spec.Type,
			Selector: installed.Spec.Selector,
			Ports:    installed.Spec.Ports,
		},
	}
	_, err = cluster.CoreV1().Services(app.Namespace).Create(ctx, service, metav1.CreateOptions{})
	Must(t, err, "create the copy's Service")
	return app
}

// Deployment is the app's Deployment as it is now.
func (a *App) Deployment(t testing.TB) *appsv1.Deployment {
	t.Helper()
	deployment, err := a.Cluster.AppsV1().Deployments(a.Namespace).Get(t.Context(), Name, metav1.GetOptions{})
	Must(t, err, "read the Deployment in %s", a.Namespace)
	return deployment
}

// NewNamespace makes a namespace that is deleted when the test ends, ready for pods.
func NewNamespace(t testing.TB, cluster *Cluster) string {
	t.Helper()
	made, err := cluster.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "podinfo-e2e-"},
	}, metav1.CreateOptions{})
	Must(t, err, "create a namespace")
	t.Cleanup(func() {
		// t's own context is already over here.
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := cluster.CoreV1().Namespaces().Delete(ctx, made.Name, metav1.DeleteOptions{}); err != nil {
			t.Errorf("delete namespace %s: %v", made.Name, err)
		}
	})
	// Pods are refused until the controller-manager has made this.
	Until(t, cluster.CoreV1().ServiceAccounts(made.Name), metav1.ListOptions{}, 30*time.Second, "the default ServiceAccount",
		func(list *corev1.ServiceAccountList) (bool, any) { return len(list.Items) > 0, list.Items })
	return made.Name
}

// Replicas sets how many pods a copy has.
func Replicas(n int32) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) { d.Spec.Replicas = &n }
}

// Args adds arguments to podinfo's command line.
func Args(args ...string) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) {
		Container(d).Command = append(Container(d).Command, args...)
	}
}

// Env sets an environment variable of podinfo.
func Env(name, value string) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) {
		container := Container(d)
		for i := range container.Env {
			if container.Env[i].Name == name {
				container.Env[i].Value = value
				return
			}
		}
		container.Env = append(container.Env, corev1.EnvVar{Name: name, Value: value})
	}
}

// Container is podinfo's container in a Deployment.
func Container(d *appsv1.Deployment) *corev1.Container {
	return &d.Spec.Template.Spec.Containers[0]
}

// Must ends the test when err is not nil.
func Must(t testing.TB, err error, what string, args ...any) {
	t.Helper()
	if err != nil {
		t.Fatalf(what+": %v", append(args, err)...)
	}
}

func httpProbe(path string) *corev1.Probe {
	probe := &corev1.Probe{PeriodSeconds: 1, FailureThreshold: 2, TimeoutSeconds: 2}
	probe.HTTPGet = &corev1.HTTPGetAction{Path: path, Port: intstr.FromString("http")}
	return probe
}

func show(state any) string {
	if text, ok := state.(string); ok {
		return text
	}
	text, err := json.Marshal(state)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
