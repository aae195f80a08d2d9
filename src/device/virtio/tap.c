#include "device/virtio/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static void tap_request(struct ifreq *r, const char *name, short flags)
{
	memset(r, 0, sizeof(*r));
	strncpy(r->ifr_name, name, IFNAMSIZ - 1);
	r->ifr_flags = flags;
}

int tap_adopt(int fd, const char *name, struct error *e)
{
	int size = sizeof(struct virtio_net_hdr_v1), le = 1;

	if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0 || ioctl(fd, TUNSETVNETLE, &le) < 0)
		return error_set(e, errno, "tap '%s': header", name);
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
		return error_set(e, errno, "tap '%s'", name);
	return 0;
}

int tap_open(const char *name, struct error *e)
{
	struct ifreq r;

	if (!*name || strlen(name) >= IFNAMSIZ)
		return error_set(e, 0, "tap '%s': not an interface name", name);
	/* TUNSETIFF would make an interface that is not there. */
	if (!if_nametoindex(name))
		return error_set(e, 0, "tap '%s': no such interface", name);
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return error_set(e, errno, "/dev/net/tun");
	tap_request(&r, name, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
	if (ioctl(fd, TUNSETIFF, &r) < 0) {
		if (errno == EBUSY)
			error_set(e, 0, "tap '%s': in use by another process", name);
		else if (errno == EINVAL)
			error_set(e, 0, "tap '%s': not a tap interface (or one with several queues)", name);
		else
			error_set(e, errno, "tap '%s'", name);
	} else if (tap_adopt(fd, name, e) == 0) {
		return fd;
	}
	close(fd);
	return -1;
}

int tap_set_offload(int fd, unsigned flags)
{
	return ioctl(fd, TUNSETOFFLOAD, flags);
}

unsigned tap_mtu(const char *name)
{
	struct ifreq r;
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	tap_request(&r, name, 0);
	int rc = s < 0 ? -1 : ioctl(s, SIOCGIFMTU, &r);
	if (s >= 0)
		close(s);
	return rc < 0 || r.ifr_mtu < 0 ? 0 : (unsigned)r.ifr_mtu;
}
