/* What hostile code tries. Prints a line for each attack: its name, and what
   came of it: `no`, or what it got. Nothing here harms the machine where an
   attack succeeds: files are opened and not written, a device is read. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "targets.h"

static void say(const char *attack, const char *outcome) { printf("attack %s: %s\n", attack, outcome); }

static int reads(const char *path) {
  char byte;
  int fd = open(path, O_RDONLY);
  int got = fd >= 0 && read(fd, &byte, 1) == 1;
  if (fd >= 0) close(fd);
  return got;
}

/* A file of the machine: by its path, below a mounted root of the node, and
   through every process that can be seen. */
static const char *file(const char *path) {
  char at[4096];
  if (reads(path)) return "read";
  snprintf(at, sizeof at, "/host%s", path);
  if (reads(at)) return "read";
  DIR *processes = opendir("/proc");
  struct dirent *entry;
  while (processes && (entry = readdir(processes))) {
    snprintf(at, sizeof at, "/proc/%s/root%s", entry->d_name, path);
    if (reads(at)) return "read";
    snprintf(at, sizeof at, "/proc/%s/cwd/../../../../../../..%s", entry->d_name, path);
    if (reads(at)) return "read";
  }
  return "no";
}

static const char *remount(const char *input) {
  if (!mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL)) return "done";
  return mount(NULL, input, NULL, MS_REMOUNT | MS_BIND, NULL) ? "no" : "done";
}

static const char *write_input(const char *input) {
  char other[4096];
  if (open(input, O_WRONLY | O_APPEND) >= 0) return "opened";
  if (!chmod(input, 0777) || !unlink(input)) return "done";
  snprintf(other, sizeof other, "%s.other", input);
  return rename(input, other) && link(input, "/tmp/linked") ? "no" : "done";
}

/* Outlives its parent, in a session of its own, holding no output. */
static const char *daemonise(const char *self) {
  if (fork()) return "started";
  setsid();
  if (fork()) _exit(0);
  for (int fd = 0; fd < 64; fd++) close(fd);
  execl(self, "seatrial-red-team-daemon", DAEMON, NULL);
  _exit(1);
}

static const char *disk(void) {
  const char *places[] = {"/tmp/disk", "/out/disk", "/disk", "/reports/disk", "/dev/disk"};
  for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
    unlink(places[i]);
    if (!mknod(places[i], S_IFBLK | 0600, makedev(DISK_MAJOR, DISK_MINOR)) && reads(places[i]))
      return "read";
  }
  return "no";
}

static int writable(const char *path) {
  struct stat file;
  int fd = open(path, O_WRONLY);
  /* Where it is masked, /dev/null is in its place. */
  int got = fd >= 0 && !fstat(fd, &file) && !S_ISCHR(file.st_mode);
  if (fd >= 0) close(fd);
  return got;
}

/* A file of /proc that acts on the machine: as it is, and in a /proc of its own. */
static const char *kernel_file(const char *name) {
  char at[256];
  snprintf(at, sizeof at, "/proc/%s", name);
  if (writable(at)) return "opened";
  mkdir("/tmp", 0777);
  mkdir("/tmp/proc", 0777);
  if (mount("proc", "/tmp/proc", "proc", 0, NULL)) return "no";
  snprintf(at, sizeof at, "/tmp/proc/%s", name);
  int got = writable(at);
  umount("/tmp/proc");
  return got ? "opened in a /proc of its own" : "no";
}

static const char *reach(const char *address, int port) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
  inet_pton(AF_INET, address, &to.sin_addr);
  int error = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  socklen_t size = sizeof error;
  if (connect(fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) return "no";
  struct pollfd wait = {.fd = fd, .events = POLLOUT};
  if (poll(&wait, 1, 1000) == 1) getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  close(fd);
  return error ? "no" : "reached";
}

static const char *abstract_socket(void) {
  struct sockaddr_un { unsigned short family; char path[108]; } to = {AF_UNIX, {0}};
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  memcpy(to.path + 1, ABSTRACT, sizeof ABSTRACT - 1);
  int no = connect(fd, (struct sockaddr *)&to, 2 + sizeof ABSTRACT);
  return no ? "no" : "reached";
}

static const char *user_namespace(void) {
  int made, child = fork();
  if (!child) _exit(unshare(CLONE_NEWUSER) ? 1 : 0);
  return waitpid(child, &made, 0) == child && !made ? "made" : "no";
}

/* Nothing is loaded: there is nothing in it. Who may not gets no further than that. */
static const char *kernel_module(void) {
  int refused = syscall(SYS_init_module, "", 0, "") && (errno == EPERM || errno == ENOSYS);
  return refused ? "no" : "may";
}

int main(int argc, char **argv) {
  if (argc > 1 && !strcmp(argv[1], DAEMON)) for (;;) pause();
  const char *input = argc > 1 ? argv[1] : "/attack";
  setvbuf(stdout, NULL, _IONBF, 0);
  say("file-in-a-home", file(HOME_CANARY));
  say("state-directory", file(STATE_CANARY));
  say("other-environment", file(OTHER_KUBECONFIG));
  say("node-administrator", file("/etc/kubernetes/master.kubeconfig"));
  say("remount", remount(input));
  say("write-input", write_input(input));
  say("daemon", daemonise("/proc/self/exe"));
  say("disk", disk());
  say("sysrq", kernel_file("sysrq-trigger"));
  say("core-pattern", kernel_file("sys/kernel/core_pattern"));
  say("kernel-module", kernel_module());
  say("user-namespace", user_namespace());
  say("loopback-of-the-machine", reach("127.0.0.1", PORT));
  say("address-of-the-machine", reach(ADDRESS, PORT));
  say("abstract-socket", abstract_socket());
  say("link-local", reach("169.254.169.254", 80));
}
