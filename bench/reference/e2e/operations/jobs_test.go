package operations

import (
	"fmt"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	. "seatrial.invalid/reference/e2e/internal/reference"
)

func startJob(t *testing.T, namespace, name string, spec corev1.PodSpec, change func(*batchv1.JobSpec)) {
	t.Helper()
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: name}}
	job.Spec.Template.Spec = spec
	change(&job.Spec)
	_, err := Connect(t).BatchV1().Jobs(namespace).Create(t.Context(), job, metav1.CreateOptions{})
	Must(t, err, "create job %s", name)
}

func waitJob(t *testing.T, namespace, name string, want batchv1.JobConditionType) (status batchv1.JobStatus, reason string) {
	t.Helper()
	Until(t, Connect(t).BatchV1().Jobs(namespace), Named(name), 30*time.Second, fmt.Sprintf("job %s to be %s", name, want),
		func(list *batchv1.JobList) (bool, any) {
			status = list.Items[0].Status
			for _, condition := range status.Conditions {
				if condition.Type == want && condition.Status == corev1.ConditionTrue {
					reason = condition.Reason
					return true, nil
				}
			}
			return false, status
		})
	return status, reason
}

func TestJobChecksTheProduct(t *testing.T) {
	namespace := NewNamespace(t)
	none := int32(0)
	once := func(spec *batchv1.JobSpec) { spec.BackoffLimit = &none }
	startJob(t, namespace, "good", FrontPod(t, "check", Front(Installed, "/healthz")), once)
	startJob(t, namespace, "bad", FrontPod(t, "check", Front(Installed, "/nothing")), once)
	t.Run("that answers", func(t *testing.T) { waitJob(t, namespace, "good", batchv1.JobComplete) })
	t.Run("that does not", func(t *testing.T) {
		if _, reason := waitJob(t, namespace, "bad", batchv1.JobFailed); reason != batchv1.JobReasonBackoffLimitExceeded {
			t.Errorf("reason %s", reason)
		}
	})
}

func TestJobIsRetried(t *testing.T) {
	namespace := NewNamespace(t)
	spec := FrontPod(t, "once", "/scratch/tried")
	spec.RestartPolicy = corev1.RestartPolicyOnFailure
	spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "scratch", MountPath: "/scratch"}}
	spec.Volumes = []corev1.Volume{{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	startJob(t, namespace, "twice", spec, func(*batchv1.JobSpec) {})
	waitJob(t, namespace, "twice", batchv1.JobComplete)
	pods, err := Connect(t).CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: batchv1.JobNameLabel + "=twice"})
	Must(t, err, "list its pods")
	if len(pods.Items) != 1 || pods.Items[0].Status.ContainerStatuses[0].RestartCount != 1 {
		t.Errorf("want one pod, restarted once, got %d pods", len(pods.Items))
	}
}

func TestJobHasADeadline(t *testing.T) {
	namespace := NewNamespace(t)
	one, two := int64(1), int64(2)
	spec := FrontPod(t, "wait")
	spec.TerminationGracePeriodSeconds = &one // the job fails when its pod has ended
	startJob(t, namespace, "endless", spec, func(spec *batchv1.JobSpec) { spec.ActiveDeadlineSeconds = &two })
	if _, reason := waitJob(t, namespace, "endless", batchv1.JobFailed); reason != batchv1.JobReasonDeadlineExceeded {
		t.Errorf("reason %s", reason)
	}
}
