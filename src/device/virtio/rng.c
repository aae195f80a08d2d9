/* virtio-rng (Virtual I/O Device 1.2 §5.4): random bytes of the host's kernel. */
#include "device/virtio/pci.h"
#include "device/virtio/virtio.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

/* A request gets at most this much, so that one notification takes a bounded time on the vCPU's thread. */
#define CHUNK 1024u

struct virtio_rng {
	struct virtio_device dev;
	struct virtq_chain chain;
};

static u32 rng_fill(struct virtio_rng *r)
{
	struct virtq_chain *c = &r->chain;
	u32 done = 0;

	for (unsigned i = c->out_count; i < c->out_count + c->in_count && done < CHUNK; i++) {
		size_t want = min(c->iov[i].iov_len, (size_t)(CHUNK - done));
		ssize_t n = getrandom(c->iov[i].iov_base, want, 0);

		if (n <= 0)
			break;
		done += (u32)n;
		if ((size_t)n < want)
			break;
	}
	return done;
}

static void rng_kick(void *ctx, unsigned index)
{
	struct virtio_rng *r = ctx;
	struct virtq *q = &r->dev.queue[index];
	unsigned budget = VIRTIO_BUDGET;

	do {
		while (budget && virtq_pop(q, &r->chain) > 0) {
			u32 n = rng_fill(r);

			virtq_written(q, &r->chain, n);
			virtq_push(q, r->chain.head, n);
			budget--;
		}
	} while (virtio_check(&r->dev, q) && budget && virtq_await(q));
	if (!budget)
		virtio_later(&r->dev, index);
	virtio_interrupt(&r->dev, q);
}

/* Requests are answered within their notification: nothing is ever in flight. */
static void rng_reset(void *ctx) {}

static void rng_queue_reset(void *ctx, unsigned q) {}

static const struct virtio_ops rng_ops = {
        .kick = rng_kick, .reset = rng_reset, .queue_reset = rng_queue_reset};

struct virtio_rng *virtio_rng_new(const struct virtio_rng_config *config, struct pci_host *pci,
                                  struct memory *mem, struct loop *loop, struct error *e)
{
	struct virtio_rng *r = calloc(1, sizeof(*r));

	if (!r) {
		error_set(e, ENOMEM, "random number device");
		return NULL;
	}
	r->dev.pci.name = "virtio-rng";
	r->dev.mem = mem;
	r->dev.loop = loop;
	r->dev.ops = &rng_ops;
	r->dev.ctx = r;
	r->dev.type = VIRTIO_TYPE_RNG;
	r->dev.class_code = 0x00ff00;
	r->dev.queue_count = 1;
	if (virtio_add(&r->dev, pci, config->slot, e) < 0) {
		free(r);
		return NULL;
	}
	return r;
}

void virtio_rng_free(struct virtio_rng *r)
{
	if (r)
		virtio_remove(&r->dev);
	free(r);
}
