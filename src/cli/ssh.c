/*
 * insula ssh: a shell in an instance, by OpenSSH's client.
 *
 * As root it goes through the namespace of the instance's VPC to the private address, so it needs no public
 * one, and no group has to allow it, as for the serial line; others take the public address, as anybody does,
 * or the port that an ordinary user's region forwards.
 */
#include "cli/ssh.h"
#include "base/buffer.h"
#include "base/cidr.h"
#include "cli/find.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "host/user_network.h"
#include "model/scalar.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WAIT_S = 180 };

#define ROUTER6 "fd00:ec2::254"

static const char usage[] =
        "usage: insula ssh [--identity FILE] [--public] [--data DIR] [USER@]INSTANCE [COMMAND...]\n\n"
        "A shell in an instance, or a command there. FILE: the private key; without, the one that\n"
        "`insula run` makes, or ~/.ssh/KEYNAME.pem. --public: by its public address, even as root.\n";

/* ---- the key ---- */

static int make_key(const char *data, const char *path, struct error *e)
{
	char folder[4200];
	int status;
	pid_t pid;

	snprintf(folder, sizeof(folder), "%s/ssh", data);
	if (mkdir(folder, 0700) < 0 && errno != EEXIST)
		return error_set(e, errno, "create %s", folder);
	pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);

		dup2(null, 0);
		dup2(null, 1);
		execlp("ssh-keygen", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "insula", "-f",
		       path, (char *)NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return error_set(e, errno, "run ssh-keygen");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return error_set(e, 0, "there is no ssh-keygen: apt-get install openssh-client");
	return status ? error_set(e, 0, "ssh-keygen: failed") : 0;
}

static int import_key(struct client *c, const char *path, struct error *e)
{
	char public[4300], line[1024];
	struct buffer text = {0};
	json_t *answer;
	size_t length;
	FILE *file;

	snprintf(public, sizeof(public), "%s.pub", path);
	file = fopen(public, "re");
	if (!file)
		return error_set(e, errno, "open %s", public);
	length = fread(line, 1, sizeof(line), file);
	fclose(file);
	base64_write(&text, line, length);
	answer = client_call(c, e, "ImportKeyPair", "KeyName", SSH_KEY_NAME, "PublicKeyMaterial",
	                     buffer_str(&text), NULL);
	buffer_release(&text);
	json_decref(answer);
	return answer ? 0 : -1;
}

int ssh_key_ensure(struct client *c, const char *data, struct error *e)
{
	char path[4200];
	json_t *answer;

	snprintf(path, sizeof(path), "%s/ssh/%s", data, SSH_KEY_NAME);
	if (access(path, R_OK) < 0 && make_key(data, path, e) < 0)
		return -1;
	answer = client_call(c, e, "DescribeKeyPairs", "Filter.1.Name", "key-name", "Filter.1.Value.1",
	                     SSH_KEY_NAME, NULL);
	if (!answer)
		return -1;
	if (json_array_size(json_object_get(answer, "KeyPairs"))) {
		json_decref(answer);
		return 0;
	}
	json_decref(answer);
	return import_key(c, path, e);
}

/* ---- where, and as whom ---- */

struct way {
	char user[64], address[64], key[4200], from[64], namespace[128];
	unsigned port; /* 0: the usual one */
};

static void find_key(struct way *w, const char *data, const char *name)
{
	const char *home = getenv("HOME");

	snprintf(w->key, sizeof(w->key), "%s/ssh/%s", data, SSH_KEY_NAME);
	if (!strcmp(name, SSH_KEY_NAME) || !home)
		return;
	snprintf(w->key, sizeof(w->key), "%s/.ssh/%s.pem", home, name);
	if (access(w->key, R_OK) == 0)
		return;
	snprintf(w->key, sizeof(w->key), "%s/.ssh/%s", home, name);
	if (access(w->key, R_OK) == 0)
		return;
	*w->key = 0; /* ssh's own ones, and its agent's */
	if (*name)
		fprintf(stderr, "insula ssh: the key %s is not in %s/.ssh: --identity says where else\n",
		        name, home);
}

/* Debian's images have the user admin; the micro image has root alone. */
static void find_user(struct way *w, struct client *c, const char *image)
{
	struct error e;
	json_t *answer = client_call(c, &e, "DescribeImages", "ImageId.1", image, NULL);

	snprintf(w->user, sizeof(w->user), "%s",
	         !strncmp(client_text(answer, "Images.0.Name"), "micro", 5) ? "root" : "admin");
	json_decref(answer);
}

/* From where: the first address of the subnet but one, which is the VPC's own there; where there is no IPv4, one
 * of its services'. */
static int gateway(struct way *w, struct client *c, const char *subnet, struct error *e)
{
	json_t *answer = client_call(c, e, "DescribeSubnets", "SubnetId.1", subnet, NULL);
	struct cidr block;

	if (!answer)
		return -1;
	snprintf(w->from, sizeof(w->from), "%s", ROUTER6);
	if (cidr_parse(&block, client_text(answer, "Subnets.0.CidrBlock")) == 0)
		ip_write(w->from, cidr_nth(block, 1));
	json_decref(answer);
	return 0;
}

static int find_way(struct way *w, struct client *c, const char *data, const json_t *instance, bool public,
                    struct error *e)
{
	const char *vpc = client_text(instance, "VpcId"), *id = client_text(instance, "InstanceId"),
	           *private_ip = client_text(instance, "PrivateIpAddress");
	char path[128], dir[4300];

	snprintf(path, sizeof(path), "/run/netns/%s", vpc);
	if (strcmp(client_text(instance, "State.Name"), "running"))
		return error_set(e, 0, "%s: is %s", id, client_text(instance, "State.Name"));
	if (!*private_ip)
		private_ip = client_text(instance, "Ipv6Address");
	if (!public && geteuid() == 0 && *vpc && access(path, F_OK) == 0 && *private_ip) {
		snprintf(w->namespace, sizeof(w->namespace), "%s", path);
		snprintf(w->address, sizeof(w->address), "%s", private_ip);
		return gateway(w, c, client_text(instance, "SubnetId"), e);
	}
	snprintf(dir, sizeof(dir), "%s/instances/%s", data, id);
	w->port = user_network_ssh_port(dir);
	snprintf(w->address, sizeof(w->address), "%s",
	         w->port ? "127.0.0.1" : client_text(instance, "PublicIpAddress"));
	if (!*w->address)
		snprintf(w->address, sizeof(w->address), "%s", client_text(instance, "Ipv6Address"));
	if (!*w->address)
		return error_set(e, 0, "%s: has no public address, and only root can do without", id);
	return 0;
}

/* Of either family; returns its size. */
static socklen_t socket_address(struct sockaddr_storage *out, const char *text, unsigned port)
{
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
	struct sockaddr_in *v4 = (struct sockaddr_in *)out;

	*out = (struct sockaddr_storage){0};
	if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((u16)port);
		return sizeof(*v6);
	}
	v4->sin_family = AF_INET;
	v4->sin_port = htons((u16)port);
	inet_pton(AF_INET, text, &v4->sin_addr);
	return sizeof(*v4);
}

/* Does a server say what ssh's say? */
static bool is_there(const struct way *w)
{
	const struct timeval limit = {.tv_sec = 5};
	struct sockaddr_storage at, from;
	socklen_t size = socket_address(&at, w->address, w->port ? w->port : 22);
	int s = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	static const char hello[] =
	        "SSH-2.0-insula\r\n"; /* through passt a server is heard after its client */
	char said[4];
	bool there;

	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (*w->from)
		bind(s, (struct sockaddr *)&from, socket_address(&from, w->from, 0));
	there = connect(s, (struct sockaddr *)&at, size) == 0 &&
	        send(s, hello, strlen(hello), MSG_NOSIGNAL) > 0 &&
	        recv(s, said, sizeof(said), MSG_WAITALL) == sizeof(said) && !memcmp(said, "SSH-", 4);
	close(s);
	return there;
}

/* Waits for a guest that boots; ssh says what is wrong if it takes too long. */
static void await(const struct way *w)
{
	const struct timespec pause = {.tv_nsec = 300 * 1000 * 1000};
	time_t end = time(NULL) + WAIT_S;
	bool said = false;

	while (!is_there(w) && time(NULL) < end) {
		if (!said)
			fputs("insula ssh: waiting for it\n", stderr);
		said = true;
		nanosleep(&pause, NULL);
	}
}

/* Becomes ssh. */
static int go(const struct way *w, const char *data, const char *id, char **command, struct error *e)
{
	char known[4300], alias[96], target[160], port[16];
	const char *argv[32] = {"ssh", "-o", "StrictHostKeyChecking=accept-new", "-o", "ConnectTimeout=10"};
	unsigned n = 5;

	snprintf(known, sizeof(known), "%s/ssh", data);
	mkdir(known, 0700);
	snprintf(known, sizeof(known), "UserKnownHostsFile=%s/ssh/known_hosts", data);
	snprintf(alias, sizeof(alias), "HostKeyAlias=%s", id);
	snprintf(target, sizeof(target), "%s@%s", w->user, w->address);
	argv[n++] = "-o";
	argv[n++] = known;
	argv[n++] = "-o";
	argv[n++] = alias;
	if (*w->key) {
		argv[n++] = "-i";
		argv[n++] = w->key;
	}
	if (*w->from) {
		argv[n++] = "-b";
		argv[n++] = w->from;
	}
	if (w->port) {
		snprintf(port, sizeof(port), "%u", w->port);
		argv[n++] = "-p";
		argv[n++] = port;
	}
	argv[n++] = target;
	for (; *command && n + 1 < ARRAY_SIZE(argv); command++)
		argv[n++] = *command;
	argv[n] = NULL;
	if (*command)
		return error_set(e, 0, "too many words; quote the command");
	if (*w->namespace) {
		int fd = open(w->namespace, O_RDONLY | O_CLOEXEC);

		if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
			return error_set(e, errno, "enter %s", w->namespace);
	}
	await(w);
	execvp("ssh", (char *const *)argv);
	return error_set(e, errno, "run ssh (package openssh-client)");
}

int ssh_main(int argc, char **argv)
{
	const char *data = NULL, *identity = NULL, *at, *name;
	bool public = false;
	const struct verb_option options[] = {
	        {"data", &data, NULL}, {"identity", &identity, NULL}, {"public", NULL, &public}, {0}};
	struct way w = {0};
	json_t *instance;
	struct client c;
	struct error e;
	int status;

	/* what stands behind the instance is for ssh */
	setenv("POSIXLY_CORRECT", "1", 1);
	status = options_read(argc, argv, options, usage, 1, 1000);
	unsetenv("POSIXLY_CORRECT");
	if (status >= 0)
		return status;
	at = strchr(argv[optind], '@');
	name = at ? at + 1 : argv[optind];
	if (client_open(&c, data, &e) < 0)
		return verb_failed("ssh", &e);
	instance = find_instance(&c, name, &e);
	status = instance ? find_way(&w, &c, data, instance, public, &e) : -1;
	if (status == 0) {
		find_user(&w, &c, client_text(instance, "ImageId"));
		if (at)
			snprintf(w.user, sizeof(w.user), "%.*s", (int)(at - argv[optind]), argv[optind]);
		if (identity)
			snprintf(w.key, sizeof(w.key), "%s", identity);
		else
			find_key(&w, data, client_text(instance, "KeyName"));
	}
	client_close(&c);
	if (status == 0)
		go(&w, data, client_text(instance, "InstanceId"), argv + optind + 1, &e);
	json_decref(instance);
	return verb_failed("ssh", &e);
}
