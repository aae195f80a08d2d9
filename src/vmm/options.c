#include "vmm/options.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
        "usage: insula vmm --kernel FILE [OPTION]...\n"
        "       insula vmm --firmware FILE [OPTION]...\n"
        "       insula vmm --api SOCKET [OPTION]...\n"
        "Runs one virtual machine in this process.\n"
        "\n"
        "  --kernel FILE      Linux bzImage, PVH or multiboot ELF\n"
        "  --initrd FILE      initial RAM disk; multiboot: modules \"FILE ARGS,FILE ARGS...\"\n"
        "  --cmdline STR      the kernel's command line\n"
        "  --firmware FILE    ROM image to boot instead of a kernel\n"
        "  --memory SIZE      such as 512M (the default), 2G\n"
        "  --cpus N           1 (the default) to 64\n"
        "  --disk path=FILE[,readonly][,id=ID][,type=nvme|virtio]\n"
        "  --net tap=IFNAME|stream=SOCKET[,mac=MAC][,id=ID][,rx-rate=BYTES][,tx-rate=BYTES]\n"
        "  --smbios [uuid=UUID][,product=NAME][,asset=TAG]\n"
        "  --accel auto|kvm|soft\n"
        "  --serial stdio|none|file:PATH|unix:PATH\n"
        "  --api SOCKET       control socket; without a kernel, wait there for one\n"
        "  --debug-exit       a write to port 0xf4 ends the process\n"
        "  --no-reboot        a guest's reboot ends the process, with status 0\n"
        "  --soft-engine interpret|translate   how the soft CPU works (default translate)\n"
        "  --soft-check       check the CPU engine's parts against each other\n"
        "  --verbose          say what is done\n"
        "  --help             this text\n"
        "\n"
        "On a terminal, Ctrl-A x leaves, and Ctrl-A Ctrl-A sends one Ctrl-A.\n";

const char *options_help(void)
{
	return help;
}

/* A value's functions get the whole configuration; what they say of a bad value has no option name in it. */
struct option {
	const char *name;
	int (*value)(struct vmm_config *c, const char *text, struct error *e); /* NULL: a flag */
	size_t flag;                                                           /* offset of its bool */
};

static int replace(char **to, const char *text, struct error *e)
{
	char *copy = strdup(text);

	if (!copy)
		return error_set(e, ENOMEM, "configuration");
	free(*to);
	*to = copy;
	return 0;
}

static int replace_path(char **to, const char *text, struct error *e)
{
	return *text ? replace(to, text, e) : error_set(e, 0, "an empty file name");
}

static int set_kernel(struct vmm_config *c, const char *text, struct error *e)
{
	return replace_path(&c->kernel, text, e);
}

static int set_initrd(struct vmm_config *c, const char *text, struct error *e)
{
	return replace_path(&c->initrd, text, e);
}

static int set_firmware(struct vmm_config *c, const char *text, struct error *e)
{
	return replace_path(&c->firmware, text, e);
}

static int set_api(struct vmm_config *c, const char *text, struct error *e)
{
	return replace_path(&c->api_socket, text, e);
}

static int set_cmdline(struct vmm_config *c, const char *text, struct error *e)
{
	return replace(&c->cmdline, text, e);
}

static int set_memory(struct vmm_config *c, const char *text, struct error *e)
{
	return vmm_parse_memory(text, &c->memory, e);
}

static int set_cpus(struct vmm_config *c, const char *text, struct error *e)
{
	return vmm_parse_cpus(text, &c->cpus, e);
}

static int set_soft_engine(struct vmm_config *c, const char *text, struct error *e)
{
	if (strcmp(text, "translate") && strcmp(text, "interpret"))
		return error_set(e, 0, "not one of translate, interpret");
	c->soft_interpret = text[0] == 'i';
	return 0;
}

static int set_accel(struct vmm_config *c, const char *text, struct error *e)
{
	static const char *const names[] = {
	        [VMM_ACCEL_AUTO] = "auto", [VMM_ACCEL_KVM] = "kvm", [VMM_ACCEL_SOFT] = "soft"};

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(text, names[i])) {
			c->accel = (enum vmm_accel)i;
			return 0;
		}
	return error_set(e, 0, "not one of auto, kvm, soft");
}

static int set_serial(struct vmm_config *c, const char *text, struct error *e)
{
	bool path = !strncmp(text, "file:", 5) || !strncmp(text, "unix:", 5);

	if (strcmp(text, "stdio") && strcmp(text, "none") && !path)
		return error_set(e, 0, "not one of stdio, none, file:PATH, unix:PATH");
	if (path && !text[5])
		return error_set(e, 0, "an empty file name");
	return replace(&c->serial, text, e);
}

/* The next "key" or "key=value" of a list; commas within a value are doubled. Owned by the caller; NULL: no
 * memory. */
static char *item_next(const char **list)
{
	char *item = malloc(strlen(*list) + 1), *to = item;
	const char *p = *list;

	if (!item)
		return NULL;
	for (; *p; p++) {
		if (*p == ',' && *++p != ',')
			break;
		*to++ = *p;
	}
	*to = 0;
	*list = p;
	return item;
}

struct key {
	const char *name;
	bool flag; /* takes no value */
	int (*set)(void *target, const char *value, struct error *e);
};

/* Applies a list to target by the table of keys. */
static int list_parse(void *target, const char *list, const struct key *keys, struct error *e)
{
	if (!*list)
		return error_set(e, 0, "empty");
	while (*list) {
		const struct key *k = keys;
		char *item = item_next(&list);
		int r;

		if (!item)
			return error_set(e, ENOMEM, "configuration");
		char *value = strchr(item, '=');

		if (value)
			*value++ = 0;
		while (k->name && strcmp(k->name, item))
			k++;
		if (!k->name)
			r = error_set(e, 0, "unknown key '%s'", item);
		else if (k->flag != !value)
			r = error_set(e, 0, k->flag ? "'%s' takes no value" : "'%s' needs a value", item);
		else if ((r = k->set(target, value, e)))
			error_prefix(e, "%s%s%s", item, value ? "=" : "", value ? value : "");
		free(item);
		if (r)
			return r;
	}
	return 0;
}

static int disk_path(void *disk, const char *value, struct error *e)
{
	return replace_path(&((struct vmm_disk *)disk)->path, value, e);
}

static int disk_id(void *disk, const char *value, struct error *e)
{
	size_t len = strlen(value);

	/* It goes into a serial number field of 20 printable characters (NVMe 1.4 §5.15.2.2). */
	if (!len || len > 20)
		return error_set(e, 0, "an id has 1 to 20 characters");
	for (const char *p = value; *p; p++)
		if (*p <= ' ' || *p > '~')
			return error_set(e, 0, "an id has printable characters only");
	return replace(&((struct vmm_disk *)disk)->id, value, e);
}

static int disk_readonly(void *disk, const char *value, struct error *e)
{
	((struct vmm_disk *)disk)->readonly = true;
	return 0;
}

static int disk_type(void *disk, const char *value, struct error *e)
{
	struct vmm_disk *d = disk;

	if (!strcmp(value, "nvme"))
		d->type = VMM_DISK_NVME;
	else if (!strcmp(value, "virtio"))
		d->type = VMM_DISK_VIRTIO;
	else
		return error_set(e, 0, "not one of nvme, virtio");
	return 0;
}

static int add_disk(struct vmm_config *c, const char *text, struct error *e)
{
	static const struct key keys[] = {
	        {"path", false, disk_path},
	        {"readonly", true, disk_readonly},
	        {"id", false, disk_id},
	        {"type", false, disk_type},
	        {0},
	};
	struct vmm_disk d = {0};
	int r = list_parse(&d, text, keys, e);

	if (!r && !d.path)
		r = error_set(e, 0, "path=FILE is missing");
	if (!r && c->disk_count == VMM_MAX_DISKS)
		r = error_set(e, 0, "more than %u disks", VMM_MAX_DISKS);
	for (unsigned i = 0; !r && d.id && i < c->disk_count; i++)
		if (c->disk[i].id && !strcmp(c->disk[i].id, d.id))
			r = error_set(e, 0, "another disk has this id");
	if (r)
		vmm_disk_release(&d);
	else
		c->disk[c->disk_count++] = d;
	return r;
}

static int net_tap(void *net, const char *value, struct error *e)
{
	return vmm_check_tap(value, e) ? -1 : replace(&((struct vmm_net *)net)->tap, value, e);
}

static int net_mac(void *net, const char *value, struct error *e)
{
	struct vmm_net *n = net;

	n->has_mac = true;
	return vmm_parse_mac(value, n->mac, e);
}

/* Somebody who speaks frames over a stream, such as passt, listens there. */
static int net_stream(void *net, const char *value, struct error *e)
{
	return replace_path(&((struct vmm_net *)net)->stream, value, e);
}

static int net_id(void *net, const char *value, struct error *e)
{
	return vmm_check_id(value, e) ? -1 : replace(&((struct vmm_net *)net)->id, value, e);
}

static int net_rate(struct limiter_config *limiter, const char *value, struct error *e)
{
	u64 rate;

	if (vmm_parse_rate(value, &rate, e))
		return -1;
	*limiter = limiter_config_rate(rate);
	return 0;
}

static int net_rx_rate(void *net, const char *value, struct error *e)
{
	return net_rate(&((struct vmm_net *)net)->rx, value, e);
}

static int net_tx_rate(void *net, const char *value, struct error *e)
{
	return net_rate(&((struct vmm_net *)net)->tx, value, e);
}

static int add_net(struct vmm_config *c, const char *text, struct error *e)
{
	static const struct key keys[] = {{"tap", false, net_tap},
	                                  {"stream", false, net_stream},
	                                  {"mac", false, net_mac},
	                                  {"id", false, net_id},
	                                  {"rx-rate", false, net_rx_rate},
	                                  {"tx-rate", false, net_tx_rate},
	                                  {0}};
	struct vmm_net n = {0};
	int r = list_parse(&n, text, keys, e);

	if (!r && !n.tap == !n.stream)
		r = error_set(e, 0, "tap=IFNAME or stream=SOCKET is missing, or both are there");
	for (unsigned i = 0; !r && n.id && i < c->net_count; i++)
		if (!strcmp(vmm_net_name(&c->net[i]), vmm_net_name(&n)))
			r = error_set(e, 0, "another network has this name");
	if (!r && c->net_count == VMM_MAX_NETS)
		r = error_set(e, 0, "more than %u networks", VMM_MAX_NETS);
	if (r)
		vmm_net_release(&n);
	else
		c->net[c->net_count++] = n;
	return r;
}

/* 64 characters are what SMBIOS takes everywhere; no more, for the tables have a place of a fixed size. */
static int smbios_string(char **to, const char *value, struct error *e)
{
	size_t len = strlen(value);

	if (!len || len > 64)
		return error_set(e, 0, "1 to 64 characters are possible");
	for (const char *p = value; *p; p++)
		if (*p < ' ' || *p > '~')
			return error_set(e, 0, "printable characters only");
	return replace(to, value, e);
}

static int smbios_uuid(void *config, const char *value, struct error *e)
{
	static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
	size_t i = 0;

	while (form[i] && (form[i] == '-' ? value[i] == '-' : isxdigit((u8)value[i])))
		i++;
	if (form[i] || value[i])
		return error_set(e, 0, "not a UUID such as %s", "ec2a1b2c-0000-4000-8000-0123456789ab");
	return replace(&((struct vmm_config *)config)->smbios_uuid, value, e);
}

static int smbios_product(void *config, const char *value, struct error *e)
{
	return smbios_string(&((struct vmm_config *)config)->smbios_product, value, e);
}

static int smbios_asset(void *config, const char *value, struct error *e)
{
	return smbios_string(&((struct vmm_config *)config)->smbios_asset, value, e);
}

static int set_smbios(struct vmm_config *c, const char *text, struct error *e)
{
	static const struct key keys[] = {{"uuid", false, smbios_uuid},
	                                  {"product", false, smbios_product},
	                                  {"asset", false, smbios_asset},
	                                  {0}};

	return list_parse(c, text, keys, e);
}

static const struct option options[] = {
        {"--kernel", set_kernel, 0},
        {"--initrd", set_initrd, 0},
        {"--cmdline", set_cmdline, 0},
        {"--firmware", set_firmware, 0},
        {"--memory", set_memory, 0},
        {"--cpus", set_cpus, 0},
        {"--disk", add_disk, 0},
        {"--net", add_net, 0},
        {"--smbios", set_smbios, 0},
        {"--accel", set_accel, 0},
        {"--serial", set_serial, 0},
        {"--api", set_api, 0},
        {"--debug-exit", NULL, offsetof(struct vmm_config, debug_exit)},
        {"--no-reboot", NULL, offsetof(struct vmm_config, no_reboot)},
        {"--soft-engine", set_soft_engine, 0},
        {"--soft-check", NULL, offsetof(struct vmm_config, soft_check)},
        {"--verbose", NULL, offsetof(struct vmm_config, verbose)},
};

static const struct option *option_find(const char *word, size_t len)
{
	for (unsigned i = 0; i < ARRAY_SIZE(options); i++)
		if (strlen(options[i].name) == len && !memcmp(options[i].name, word, len))
			return &options[i];
	return NULL;
}

/* What single options cannot know of each other. */
static int check_together(const struct vmm_config *c, struct error *e)
{
	if (c->firmware && c->kernel)
		return error_set(e, 0, "--firmware and --kernel together are not supported");
	if (c->firmware && (c->initrd || c->cmdline))
		return error_set(e, 0, "%s goes with --kernel, not with --firmware",
		                 c->initrd ? "--initrd" : "--cmdline");
	if (!c->kernel && !c->firmware && !c->api_socket)
		return error_set(e, 0, "nothing to boot: --kernel FILE is missing (see --help)");
	if (!c->kernel && (c->initrd || c->cmdline))
		return error_set(e, 0, "%s without --kernel", c->initrd ? "--initrd" : "--cmdline");
	return 0;
}

enum options_result options_parse(struct vmm_config *c, int argc, char **argv, struct error *e)
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return OPTIONS_HELP;
	for (int i = 1; i < argc; i++) {
		const char *word = argv[i], *value = NULL;
		size_t len = strcspn(word, "=");
		const struct option *o = option_find(word, len);

		if (!o) {
			error_set(e, 0, word[0] == '-' ? "unknown option '%.*s'" : "unknown word '%.*s'",
			          word[0] == '-' ? (int)len : (int)strlen(word), word);
			return OPTIONS_ERROR;
		}
		if (word[len])
			value = word + len + 1;
		if (!o->value) {
			if (value) {
				error_set(e, 0, "%s takes no value", o->name);
				return OPTIONS_ERROR;
			}
			*(bool *)((char *)c + o->flag) = true;
			continue;
		}
		if (!value && i + 1 < argc)
			value = argv[++i];
		if (!value) {
			error_set(e, 0, "%s needs a value", o->name);
			return OPTIONS_ERROR;
		}
		if (o->value(c, value, e)) {
			error_prefix(e, "%s %s", o->name, value);
			return OPTIONS_ERROR;
		}
	}
	return check_together(c, e) ? OPTIONS_ERROR : OPTIONS_RUN;
}
