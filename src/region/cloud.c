#include "region/cloud.h"
#include "base/clock.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

s64 cloud_now_ms(void)
{
	return (s64)(clock_realtime_ns() / 1000000);
}

void cloud_random_hex(char *out, unsigned n)
{
	static const char digits[] = "0123456789abcdef";
	u8 bytes[64];

	if (n > sizeof(bytes) || getrandom(bytes, n, 0) != (ssize_t)n)
		abort();
	for (unsigned i = 0; i < n; i++)
		out[i] = digits[bytes[i] & 15];
	out[n] = 0;
}

/* ---- settings ---- */

const char *cloud_setting(struct cloud *c, const char *name)
{
	struct query *q =
	        query_text(database_query(c->db, "SELECT value FROM setting WHERE name = $1"), name);

	bool found = query_row(q);

	if (found)
		snprintf(c->setting, sizeof(c->setting), "%s", query_column_text(q, 0));
	query_end(q);
	return found ? c->setting : NULL;
}

void cloud_set(struct cloud *c, const char *name, const char *value)
{
	query_run(query_text(query_text(database_query(c->db, "INSERT INTO setting VALUES ($1, $2) "
	                                                      "ON CONFLICT (name) DO UPDATE SET value = $2"),
	                                name),
	                     value));
}

/* ---- access keys ---- */

static bool read_key(struct query *q, struct access_key *key)
{
	bool found = query_row(q);

	if (found) {
		snprintf(key->id, sizeof(key->id), "%s", query_column_text(q, 0));
		snprintf(key->secret, sizeof(key->secret), "%s", query_column_text(q, 1));
		snprintf(key->account, sizeof(key->account), "%s", query_column_text(q, 2));
		snprintf(key->policy, sizeof(key->policy), "%s", query_column_text(q, 3));
	}
	query_end(q);
	return found;
}

bool access_key_find(struct cloud *c, const char *id, struct access_key *key)
{
	return read_key(
	        query_text(database_query(c->db,
	                                  "SELECT id, secret, account, policy FROM access_key WHERE id = $1"),
	                   id),
	        key);
}

bool access_key_first(struct cloud *c, struct access_key *key)
{
	return read_key(database_query(c->db, "SELECT id, secret, account, policy FROM access_key "
	                                      "ORDER BY created, id LIMIT 1"),
	                key);
}

static void random_text(char *out, unsigned n, const char *alphabet)
{
	size_t count = strlen(alphabet);
	u8 bytes[64];

	if (n > sizeof(bytes) || getrandom(bytes, n, 0) != (ssize_t)n)
		abort();
	for (unsigned i = 0; i < n; i++)
		out[i] = alphabet[bytes[i] % count];
	out[n] = 0;
}

static bool acceptable(const char *text, size_t least, const char *others)
{
	size_t length = strlen(text);

	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char)text[i]) && !strchr(others, text[i]))
			return false;
	return length >= least && length <= 128;
}

int access_key_create(struct cloud *c, const char *id, const char *secret, const char *policy,
                      struct access_key *key, struct error *e)
{
	struct access_key old;
	struct query *q;

	memset(key, 0, sizeof(*key));
	strcpy(key->id, "AKIA");
	random_text(key->id + 4, 16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567");
	random_text(key->secret, 40, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/+");
	if ((id && !acceptable(id, 3, "_-")) || (secret && !acceptable(secret, 1, "/+=_-")))
		return error_set(e, 0, "access key %s: letters, digits and _-/+= only, at most 128",
		                 id ? id : "");
	if (id)
		snprintf(key->id, sizeof(key->id), "%s", id);
	if (secret)
		snprintf(key->secret, sizeof(key->secret), "%s", secret);
	snprintf(key->account, sizeof(key->account), "%s", c->account);
	if (access_key_find(c, key->id, &old))
		return error_set(e, 0, "access key %s: exists", key->id);
	if (policy && strlen(policy) >= sizeof(key->policy))
		return error_set(e, 0, "access key %s: its policy is longer than %zu bytes", key->id,
		                 sizeof(key->policy) - 1);
	if (policy)
		strcpy(key->policy, policy);
	q = database_query(c->db, "INSERT INTO access_key VALUES ($1, $2, $3, $4, $5)");
	query_text(query_text(query_text(q, key->id), key->secret), key->account);
	query_run(query_text(query_integer(q, cloud_now_ms()), key->policy));
	return 0;
}

/* ---- life ---- */

static int make_folder(const char *path, struct error *e)
{
	char text[4096];

	if (snprintf(text, sizeof(text), "%s", path) >= (int)sizeof(text))
		return error_set(e, ENAMETOOLONG, "create %s", path);
	for (char *p = text + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = 0;
		if (mkdir(text, 0755) < 0 && errno != EEXIST)
			return error_set(e, errno, "create %s", text);
		*p = '/';
	}
	if (mkdir(text, 0700) < 0 && errno != EEXIST)
		return error_set(e, errno, "create %s", text);
	return 0;
}

static int first_start(struct cloud *c, const struct cloud_options *o, struct error *e)
{
	const char *account = cloud_setting(c, "account");
	struct access_key key;

	/* Whoever only looks does not wait for who writes. */
	if (account && (!o->account || !strcmp(o->account, account)) && access_key_first(c, &key)) {
		snprintf(c->account, sizeof(c->account), "%s", account);
		return 0;
	}
	database_begin(c->db);
	account = o->account ? o->account : cloud_setting(c, "account");
	snprintf(c->account, sizeof(c->account), "%s", account ? account : "123456789012");
	cloud_set(c, "account", c->account);
	if (!access_key_first(c, &key) && access_key_create(c, NULL, NULL, NULL, &key, e) < 0) {
		database_rollback(c->db);
		return -1;
	}
	return database_commit(c->db, e);
}

static void read_boot(struct cloud *c)
{
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");

	if (file && fscanf(file, "%39s", c->boot) != 1)
		c->boot[0] = 0;
	if (file)
		fclose(file);
}

int cloud_open(struct cloud *c, const struct cloud_options *o, struct error *e)
{
	char url[4200];

	*c = (struct cloud){.data = o->data, .regions = o->regions};
	read_boot(c);
	if (o->existing && access(o->data, F_OK) < 0)
		return error_set(e, 0, "there is no region at %s: start one with `insula up`", o->data);
	if (make_folder(o->data, e) < 0)
		return -1;
	if (o->account && (strlen(o->account) != 12 || strspn(o->account, "0123456789") != 12))
		return error_set(e, 0, "account `%s`: must be twelve digits", o->account);
	snprintf(url, sizeof(url), "sqlite:%s/region.db", o->data);
	c->db = database_open(o->database ? o->database : url, &o->check, e);
	if (!c->db)
		return -1;
	if (first_start(c, o, e) < 0) {
		cloud_close(c);
		return -1;
	}
	return 0;
}

void cloud_close(struct cloud *c)
{
	database_close(c->db);
	c->db = NULL;
}

int cloud_lock(const char *data, struct error *e)
{
	const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
	char path[4200];
	int fd, result = -1;

	if (make_folder(data, e) < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/serve.lock", data);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_set(e, errno, "open %s", path);
	/* Who only asks whether there is a server holds it for an instant. */
	for (unsigned i = 0; i < 10 && (result = flock(fd, LOCK_EX | LOCK_NB)) < 0; i++)
		nanosleep(&pause, NULL);
	if (result == 0) {
		/* For cloud_server(); who cannot be told of is not stopped by `insula down`, no more. */
		if (ftruncate(fd, 0) == 0)
			dprintf(fd, "%d\n", (int)getpid());
		return 0;
	}
	close(fd);
	error_set(e, 0, "%s is served by another process", data);
	return CLOUD_SERVED;
}

int cloud_server(const char *data)
{
	char path[4200], text[16] = "";
	int fd, pid = 0;

	snprintf(path, sizeof(path), "%s/serve.lock", data);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	if (flock(fd, LOCK_SH | LOCK_NB) < 0 && read(fd, text, sizeof(text) - 1) > 0)
		pid = atoi(text);
	close(fd);
	return pid;
}
