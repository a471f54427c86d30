package product

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	. "seatrial.invalid/reference/e2e/internal/reference"
)

func configure(t *testing.T, namespace string, data map[string]string) {
	t.Helper()
	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "front"}, Data: data}
	_, err := Connect(t).CoreV1().ConfigMaps(namespace).Update(t.Context(), config, metav1.UpdateOptions{})
	Must(t, err, "update the configuration")
}

func TestConfigurationReloads(t *testing.T) {
	namespace := NewNamespace(t)
	CopyFront(t, namespace)
	before := Pods(t, namespace, "front")
	for _, greeting := range []string{"avast", "belay"} {
		configure(t, namespace, map[string]string{"greeting": greeting, "cache": "false"})
		WaitAnswers(t, Front(namespace, "/"), "with "+greeting, func(a About) bool { return a.Greeting == greeting })
	}
	for _, pod := range before {
		now := WaitPod(t, namespace, pod.Name, "to be there still", Ready)
		if now.UID != pod.UID || now.Status.ContainerStatuses[0].RestartCount != 0 {
			t.Errorf("%s was restarted", pod.Name)
		}
	}
}

func TestBadConfigurationChangesNothing(t *testing.T) {
	namespace := NewNamespace(t)
	CopyFront(t, namespace, Replicas(1))
	good := Config(t)["greeting"]
	for name, data := range map[string]map[string]string{
		"no greeting": {"cache": "true"},
		"no boolean":  {"greeting": "avast", "cache": "perhaps"},
	} {
		t.Run(name, func(t *testing.T) {
			configure(t, namespace, data)
			WaitAnswers(t, Front(namespace, "/"), "that name the problem", func(a About) bool { return a.Problem != "" && a.Greeting == good })
			configure(t, namespace, map[string]string{"greeting": good, "cache": "false"})
			WaitAnswers(t, Front(namespace, "/"), "without a problem", func(a About) bool { return a.Problem == "" })
		})
	}
}

// certificate is the Secret of a new self-signed certificate.
func certificate(t *testing.T, serial int64) *corev1.Secret {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	Must(t, err, "make a key")
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: []string{"front"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	Must(t, err, "make a certificate")
	private, err := x509.MarshalPKCS8PrivateKey(key)
	Must(t, err, "write the key")
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "front-tls"},
		Type:       corev1.SecretTypeTLS,
		Data: map[string][]byte{
			"tls.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
			"tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		},
	}
}

// serial is that of the certificate that a front shows to a new connection.
func serial(ctx context.Context, namespace string) (int64, error) {
	dialer := tls.Dialer{NetDialer: Dialer, Config: &tls.Config{InsecureSkipVerify: true}}
	connection, err := dialer.DialContext(ctx, "tcp", "front."+namespace+".svc.cluster.local.:443")
	if err != nil {
		return 0, err
	}
	defer connection.Close()
	return connection.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.Int64(), nil
}

func TestCertificateRotates(t *testing.T) {
	namespace := NewNamespace(t)
	CopyFront(t, namespace)
	secrets := Connect(t).CoreV1().Secrets(namespace)
	if _, err := serial(t.Context(), namespace); err == nil {
		t.Fatal("there is a certificate before there is one")
	}
	_, err := secrets.Create(t.Context(), certificate(t, 1001), metav1.CreateOptions{})
	Must(t, err, "create the Secret")
	wait := func(want int64) {
		Eventually(t, 10*time.Second, fmt.Sprintf("10 connections in a row with certificate %d", want), func(ctx context.Context) (bool, any) {
			for range 10 {
				if got, err := serial(ctx, namespace); err != nil || got != want {
					return false, fmt.Sprint(got, err)
				}
			}
			return true, nil
		})
	}
	wait(1001)
	traffic := StartTraffic(t, namespace)
	_, err = secrets.Update(t.Context(), certificate(t, 1002), metav1.UpdateOptions{})
	Must(t, err, "replace the Secret")
	wait(1002)
	if failures := traffic.Stop(); len(failures) > 0 {
		t.Errorf("the rotation disturbed %d requests: %v", len(failures), failures)
	}
}

func TestBrokenCertificateIsNotTaken(t *testing.T) {
	namespace := NewNamespace(t)
	secrets := Connect(t).CoreV1().Secrets(namespace)
	_, err := secrets.Create(t.Context(), certificate(t, 7), metav1.CreateOptions{})
	Must(t, err, "create the Secret")
	CopyFront(t, namespace, Replicas(1))
	Eventually(t, 10*time.Second, "the good certificate", func(ctx context.Context) (bool, any) {
		got, err := serial(ctx, namespace)
		return err == nil && got == 7, fmt.Sprint(got, err)
	})
	broken := certificate(t, 8)
	broken.Data["tls.key"] = certificate(t, 9).Data["tls.key"] // of another certificate
	_, err = secrets.Update(t.Context(), broken, metav1.UpdateOptions{})
	Must(t, err, "replace the Secret")
	pod := ReadyPod(t, namespace, "front").Name
	WaitLog(t, namespace, pod, "the certificate stays as it was")
	if got, err := serial(t.Context(), namespace); err != nil || got != 7 {
		t.Errorf("want the good certificate still, got %d, %v", got, err)
	}
}
