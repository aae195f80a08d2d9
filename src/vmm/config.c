#include "vmm/config.h"

#include "machine/memory.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int vmm_config_init(struct vmm_config *c, struct error *e)
{
	*c = (struct vmm_config){.memory = 512 * MiB, .cpus = 1, .serial = strdup("stdio")};
	return c->serial ? 0 : error_set(e, ENOMEM, "configuration");
}

void vmm_config_release(struct vmm_config *c)
{
	free(c->kernel);
	free(c->initrd);
	free(c->cmdline);
	free(c->firmware);
	free(c->serial);
	free(c->api_socket);
	free(c->smbios_uuid);
	free(c->smbios_product);
	free(c->smbios_asset);
	for (unsigned i = 0; i < c->disk_count; i++)
		vmm_disk_release(&c->disk[i]);
	for (unsigned i = 0; i < c->net_count; i++)
		vmm_net_release(&c->net[i]);
	memset(c, 0, sizeof(*c));
}

void vmm_disk_release(struct vmm_disk *d)
{
	free(d->path);
	free(d->id);
	free(d->partuuid);
	memset(d, 0, sizeof(*d));
}

void vmm_net_release(struct vmm_net *n)
{
	free(n->tap);
	free(n->stream);
	free(n->id);
	memset(n, 0, sizeof(*n));
}

void vmm_config_remove(struct vmm_config *c, enum vmm_part part, unsigned n)
{
	if (part == VMM_PART_DISK) {
		vmm_disk_release(&c->disk[n]);
		c->disk_count--;
		memmove(c->disk + n, c->disk + n + 1, (c->disk_count - n) * sizeof(c->disk[0]));
	} else {
		vmm_net_release(&c->net[n]);
		c->net_count--;
		memmove(c->net + n, c->net + n + 1, (c->net_count - n) * sizeof(c->net[0]));
	}
}

/* Removes each word that is exactly `word` from a line of words between spaces. */
static void word_remove(char *line, const char *word)
{
	size_t len = strlen(word);
	char *to = line;

	for (const char *p = line; *p;) {
		size_t n = strcspn(p, " "), spaces = strspn(p + n, " ");

		if (n == len && !memcmp(p, word, n)) {
			p += n + spaces;
			continue;
		}
		memmove(to, p, n + spaces);
		to += n + spaces;
		p += n + spaces;
	}
	*to = 0;
}

/* Whether a word begins with `prefix`. */
static bool word_starts(const char *line, const char *prefix)
{
	for (const char *p = line; (p = strstr(p, prefix)); p++)
		if (p == line || p[-1] == ' ')
			return true;
	return false;
}

char *vmm_config_cmdline(const struct vmm_config *c)
{
	const struct vmm_disk *root = NULL;
	unsigned nvme = 0, virtio = 0;
	char *line = NULL;

	for (unsigned i = 0; i < c->disk_count && !root; i++) {
		if (c->disk[i].root)
			root = &c->disk[i];
		else if (c->disk[i].type == VMM_DISK_NVME)
			nvme++;
		else
			virtio++;
	}
	if (!root || !c->cmdline)
		return c->cmdline ? strdup(c->cmdline) : NULL;

	char *words = strdup(c->cmdline);

	if (!words)
		return NULL;
	word_remove(words, "pci=off");
	if (word_starts(words, "root="))
		return words;

	const char *mode = root->readonly ? "ro" : "rw";
	int n;

	if (root->partuuid)
		n = asprintf(&line, "%s root=PARTUUID=%s %s", words, root->partuuid, mode);
	else if (root->type == VMM_DISK_NVME)
		n = asprintf(&line, "%s root=/dev/nvme%un1 %s", words, nvme, mode);
	else
		n = asprintf(&line, "%s root=/dev/vd%c %s", words, 'a' + (int)virtio, mode);
	free(words);
	return n < 0 ? NULL : line;
}

const char *vmm_net_name(const struct vmm_net *n)
{
	return n->id ? n->id : n->tap ? n->tap : n->stream;
}

void vmm_net_mac(const struct vmm_net *n, u8 mac[6])
{
	u64 hash = 0xcbf29ce484222325; /* FNV-1a */

	if (n->has_mac) {
		memcpy(mac, n->mac, 6);
		return;
	}
	for (const char *p = n->tap ? n->tap : n->stream; *p; p++)
		hash = (hash ^ (u8)*p) * 0x100000001b3;
	mac[0] = 0x02; /* locally administered, unicast */
	for (int i = 1; i < 6; i++)
		mac[i] = (u8)(hash >> 8 * i);
}

/* Decimal digits only, to the first other character; at least one. */
static int parse_digits(const char *text, u64 *value, const char **end)
{
	const char *p = text;

	for (*value = 0; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(*value, 10, value) ||
		    __builtin_add_overflow(*value, (u64)(*p - '0'), value))
			return -1;
	*end = p;
	return p == text ? -1 : 0;
}

int vmm_check_memory(u64 bytes, struct error *e)
{
	if (bytes < MEMORY_MIN)
		return error_set(e, 0, "too little memory: at least %llu MiB", MEMORY_MIN / MiB);
	if (bytes > MEMORY_MAX)
		return error_set(e, 0, "too much memory: at most %llu GiB", MEMORY_MAX / GiB);
	if (bytes % 4096)
		return error_set(e, 0, "not a multiple of 4 KiB");
	return 0;
}

int vmm_parse_memory(const char *text, u64 *bytes, struct error *e)
{
	static const char suffixes[] = "KMGT";
	const char *end, *suffix = suffixes + 1;
	u64 value;

	if (parse_digits(text, &value, &end))
		return error_set(e, 0, "not a size such as 512M or 2G");
	if (*end) {
		suffix = strchr(suffixes, *end & ~0x20);
		if (!suffix || end[1])
			return error_set(e, 0, "not a size such as 512M or 2G");
	}
	if (__builtin_mul_overflow(value, KiB << 10 * (suffix - suffixes), &value))
		value = ~0ULL;
	if (vmm_check_memory(value, e))
		return -1;
	*bytes = value;
	return 0;
}

int vmm_parse_rate(const char *text, u64 *bytes, struct error *e)
{
	static const char suffixes[] = "KMG";
	const char *end, *suffix;
	u64 value, unit = 1;

	if (parse_digits(text, &value, &end) || (*end && end[1]))
		return error_set(e, 0, "not a rate such as 125000000 or 125M, in bytes a second");
	if (*end) {
		suffix = strchr(suffixes, *end & ~0x20);
		if (!suffix)
			return error_set(e, 0, "not a rate such as 125000000 or 125M, in bytes a second");
		for (const char *p = suffixes; p <= suffix; p++)
			unit *= 1000;
	}
	if (__builtin_mul_overflow(value, unit, &value) || !value)
		return error_set(e, 0, "no rate");
	*bytes = value;
	return 0;
}

int vmm_parse_cpus(const char *text, unsigned *cpus, struct error *e)
{
	const char *end;
	u64 value;

	if (parse_digits(text, &value, &end) || *end || !value || value > VMM_MAX_CPUS)
		return error_set(e, 0, "not a number of CPUs from 1 to %u", VMM_MAX_CPUS);
	*cpus = (unsigned)value;
	return 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int vmm_parse_mac(const char *text, u8 mac[6], struct error *e)
{
	static const u8 zero[6];
	u8 m[6];

	if (strlen(text) != 17)
		return error_set(e, 0, "not a MAC address such as 02:00:00:00:00:01");
	for (int i = 0; i < 6; i++) {
		int high = hex_digit(text[i * 3]), low = hex_digit(text[i * 3 + 1]);

		if (high < 0 || low < 0 || (i < 5 && text[i * 3 + 2] != ':'))
			return error_set(e, 0, "not a MAC address such as 02:00:00:00:00:01");
		m[i] = (u8)(high << 4 | low);
	}
	if (m[0] & 1 || !memcmp(m, zero, 6))
		return error_set(e, 0, "not the MAC address of one machine");
	memcpy(mac, m, 6);
	return 0;
}

int vmm_check_id(const char *id, struct error *e)
{
	size_t len = strlen(id);

	if (!len || len > 64 ||
	    strspn(id, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-") != len)
		return error_set(e, 0, "an id has 1 to 64 letters, digits, '-' and '_'");
	return 0;
}

int vmm_check_tap(const char *name, struct error *e)
{
	if (!*name || strlen(name) >= IFNAMSIZ || !strcmp(name, ".") || !strcmp(name, "..") ||
	    strcspn(name, "/: \t\r\n") != strlen(name))
		return error_set(e, 0, "not the name of a network interface");
	return 0;
}
