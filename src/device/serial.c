#include "device/serial.h"
#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { RBR_THR_DLL, IER_DLM, IIR_FCR, LCR, MCR, LSR, MSR, SCR };

enum {
	IER_RDA = 0x01,
	IER_THRE = 0x02,
	IER_LINE = 0x04,
	IER_MODEM = 0x08,

	IIR_MODEM = 0x00,
	IIR_NONE = 0x01,
	IIR_THRE = 0x02,
	IIR_RDA = 0x04,
	IIR_LINE = 0x06,
	IIR_TIMEOUT = 0x0c,
	IIR_FIFO = 0xc0,

	FCR_ENABLE = 0x01,
	FCR_CLEAR_RX = 0x02,
	FCR_CLEAR_TX = 0x04,

	LCR_BREAK = 0x40,
	LCR_DLAB = 0x80,

	MCR_DTR = 0x01,
	MCR_RTS = 0x02,
	MCR_OUT1 = 0x04,
	MCR_OUT2 = 0x08,
	MCR_LOOP = 0x10,

	LSR_DR = 0x01,
	LSR_OE = 0x02,
	LSR_BI = 0x10,
	LSR_THRE = 0x20,
	LSR_TEMT = 0x40,
	LSR_FIFO_ERROR = 0x80,
	LSR_ERRORS = 0x1e,

	MSR_CTS = 0x10,
	MSR_DSR = 0x20,
	MSR_RI = 0x40,
	MSR_DCD = 0x80,
};

#define FIFO_SIZE 16u

/* LSR read this often with nothing else in between: somebody waits for a byte (serial.h, "Input"). */
#define POLLS_THAT_LISTEN 8u

/* How long a blind write to a full ring is held up. */
#define STALL_MS 200

#define EXIT_FLUSH_NS 5000000000ULL

struct serial {
	struct serial_config config;
	struct loop *loop;
	struct bus *pio;
	struct bus_region region;
	struct loop_call drain_call;
	pthread_mutex_t lock; /* all below */

	u8 ier, lcr, mcr, msr, lsr_errors, scr, fcr;
	u16 divisor;
	bool thre_pending; /* the THRE interrupt: set when THRE rises, cleared by reading IIR or writing THR
	                    */
	u8 fifo[FIFO_SIZE];
	bool fifo_break[FIFO_SIZE];
	unsigned fifo_head, fifo_count;
	unsigned polls;
	bool listening; /* the guest polls for input */

	u8 ring[SERIAL_RING];
	u32 ring_head, ring_count;
	bool stalled; /* a blind write has waited in vain: do not wait again before something moved */
};

static bool serial_fifo_on(const struct serial *s)
{
	return s->fcr & FCR_ENABLE;
}

static unsigned serial_fifo_room(const struct serial *s)
{
	return (serial_fifo_on(s) ? FIFO_SIZE : 1) - min(s->fifo_count, serial_fifo_on(s) ? FIFO_SIZE : 1);
}

static unsigned serial_trigger(const struct serial *s)
{
	static const u8 levels[] = {1, 4, 8, 14};

	return serial_fifo_on(s) ? levels[s->fcr >> 6] : 1;
}

/* Room for a driver's whole FIFO load, or in unbuffered mode: nothing left behind. */
static bool serial_thre(const struct serial *s)
{
	return s->config.unbuffered ? !s->ring_count : s->ring_count <= SERIAL_RING - FIFO_SIZE;
}

static bool serial_fifo_has_break(const struct serial *s)
{
	for (unsigned i = 0; i < s->fifo_count; i++)
		if (s->fifo_break[(s->fifo_head + i) % FIFO_SIZE])
			return true;
	return false;
}

static u8 serial_lsr(const struct serial *s)
{
	u8 v = s->lsr_errors;

	if (s->fifo_count)
		v |= LSR_DR;
	if (s->fifo_count && s->fifo_break[s->fifo_head])
		v |= LSR_BI;
	if (serial_fifo_on(s) && serial_fifo_has_break(s))
		v |= LSR_FIFO_ERROR;
	if (serial_thre(s))
		v |= LSR_THRE | LSR_TEMT;
	return v;
}

/* The interrupt that IIR shows: highest priority first (data sheet, table III). */
static u8 serial_iir(const struct serial *s)
{
	if ((s->ier & IER_LINE) && (serial_lsr(s) & LSR_ERRORS))
		return IIR_LINE;
	if (s->ier & IER_RDA) {
		if (s->fifo_count >= serial_trigger(s))
			return IIR_RDA;
		if (s->fifo_count)
			return IIR_TIMEOUT;
	}
	if ((s->ier & IER_THRE) && s->thre_pending)
		return IIR_THRE;
	if ((s->ier & IER_MODEM) && (s->msr & 0x0f))
		return IIR_MODEM;
	return IIR_NONE;
}

static void serial_update_irq(struct serial *s)
{
	irq_set(&s->config.irq, serial_iir(s) != IIR_NONE);
}

/* ---- modem lines ---- */

static u8 serial_modem_inputs(const struct serial *s)
{
	if (!(s->mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD; /* a cable with all lines up */
	return (u8)((s->mcr & MCR_RTS ? MSR_CTS : 0) | (s->mcr & MCR_DTR ? MSR_DSR : 0) |
	            (s->mcr & MCR_OUT1 ? MSR_RI : 0) | (s->mcr & MCR_OUT2 ? MSR_DCD : 0));
}

static void serial_update_modem(struct serial *s)
{
	u8 now = serial_modem_inputs(s);
	u8 changed = (s->msr ^ now) & 0xf0;

	/* The ring indicator's delta marks its trailing edge only. */
	if (now & MSR_RI)
		changed &= (u8)~MSR_RI;
	s->msr = (u8)(now | (s->msr & 0x0f) | changed >> 4);
}

/* ---- receive ---- */

static void serial_receive(struct serial *s, u8 byte, bool is_break)
{
	if (!serial_fifo_room(s)) {
		s->lsr_errors |= LSR_OE;
		if (serial_fifo_on(s))
			return;    /* the shift register is overwritten, the FIFO is kept */
		s->fifo_count = 0; /* without FIFO the old byte is lost */
	}
	unsigned i = (s->fifo_head + s->fifo_count++) % FIFO_SIZE;
	s->fifo[i] = byte;
	s->fifo_break[i] = is_break;
}

static void serial_pull(struct serial *s)
{
	u8 buf[FIFO_SIZE];
	unsigned room = serial_fifo_room(s);

	if (!room || (s->mcr & MCR_LOOP) || !((s->ier & IER_RDA) || s->listening))
		return;
	size_t n = chardev_read(s->config.chardev, buf, room);
	for (size_t i = 0; i < n; i++)
		serial_receive(s, buf[i], false);
}

static u8 serial_read_rbr(struct serial *s)
{
	u8 v = s->fifo[s->fifo_head];

	if (s->fifo_count) {
		s->fifo_head = (s->fifo_head + 1) % FIFO_SIZE;
		s->fifo_count--;
	}
	serial_pull(s);
	return v;
}

/* ---- transmit ---- */

/* Moves the ring's content to the chardev as far as that takes it. */
static void serial_drain(struct serial *s)
{
	bool thre = serial_thre(s);

	while (s->ring_count) {
		u32 run = min(s->ring_count, SERIAL_RING - s->ring_head);
		u32 n = (u32)chardev_write(s->config.chardev, s->ring + s->ring_head, run);

		s->ring_head = (s->ring_head + n) % SERIAL_RING;
		s->ring_count -= n;
		if (n)
			s->stalled = false;
		if (n < run)
			break;
	}
	if (!thre && serial_thre(s))
		s->thre_pending = true;
}

static void serial_send(struct serial *s, u8 byte)
{
	if (s->ring_count == SERIAL_RING && !s->stalled) {
		chardev_wait(s->config.chardev, STALL_MS);
		serial_drain(s);
		s->stalled = s->ring_count == SERIAL_RING;
	}
	if (s->ring_count == SERIAL_RING)
		return;
	s->ring[(s->ring_head + s->ring_count++) % SERIAL_RING] = byte;
	if (s->config.unbuffered)
		serial_drain(s);
	else if (s->ring_count == 1)
		loop_post(s->loop, &s->drain_call);
}

static void serial_write_thr(struct serial *s, u8 byte)
{
	s->thre_pending = false;
	if (s->mcr & MCR_LOOP)
		serial_receive(s, byte, false);
	else
		serial_send(s, byte);
	if (serial_thre(s))
		s->thre_pending = true;
}

static void serial_drain_call(void *ctx)
{
	struct serial *s = ctx;

	pthread_mutex_lock(&s->lock);
	serial_drain(s);
	serial_update_irq(s);
	pthread_mutex_unlock(&s->lock);
}

static void serial_readable(void *ctx)
{
	struct serial *s = ctx;

	pthread_mutex_lock(&s->lock);
	serial_pull(s);
	serial_update_irq(s);
	pthread_mutex_unlock(&s->lock);
}

/* ---- registers ---- */

static void serial_write_fcr(struct serial *s, u8 v)
{
	bool flip = (v ^ s->fcr) & FCR_ENABLE;

	/* The other bits count only while bit 0 is being written as 1; turning FIFOs on or off empties them.
	 * What is in the ring has left the UART as far as the guest can tell. */
	if (flip || (v & FCR_CLEAR_RX)) {
		s->fifo_count = 0;
		s->fifo_head = 0;
	}
	s->fcr = v & FCR_ENABLE ? v & 0xc9 : 0;
	serial_pull(s);
}

static void serial_write_ier(struct serial *s, u8 v)
{
	u8 rising = v & (u8)~s->ier;

	s->ier = v & 0x0f;
	/* Enabling the interrupt while the holding register is empty raises it. */
	if ((rising & IER_THRE) && serial_thre(s))
		s->thre_pending = true;
	serial_pull(s);
}

static void serial_write_lcr(struct serial *s, u8 v)
{
	if ((v & LCR_BREAK) && !(s->lcr & LCR_BREAK) && (s->mcr & MCR_LOOP))
		serial_receive(s, 0, true);
	s->lcr = v;
}

static u8 serial_read_register(struct serial *s, unsigned reg)
{
	u8 v;

	if (reg == LSR) {
		if (!s->fifo_count && ++s->polls >= POLLS_THAT_LISTEN) {
			s->listening = true;
			serial_pull(s);
		}
	} else {
		s->polls = 0;
	}
	switch (reg) {
	case RBR_THR_DLL:
		return s->lcr & LCR_DLAB ? (u8)s->divisor : serial_read_rbr(s);
	case IER_DLM:
		return s->lcr & LCR_DLAB ? (u8)(s->divisor >> 8) : s->ier;
	case IIR_FCR:
		v = serial_iir(s);
		if (v == IIR_THRE)
			s->thre_pending = false;
		return v | (serial_fifo_on(s) ? IIR_FIFO : 0);
	case LCR:
		return s->lcr;
	case MCR:
		return s->mcr;
	case LSR:
		v = serial_lsr(s);
		s->lsr_errors = 0;
		if (s->fifo_count)
			s->fifo_break[s->fifo_head] = false;
		return v;
	case MSR:
		v = s->msr;
		s->msr &= 0xf0;
		return v;
	default:
		return s->scr;
	}
}

static void serial_write_register(struct serial *s, unsigned reg, u8 v)
{
	s->polls = 0;
	switch (reg) {
	case RBR_THR_DLL:
		if (s->lcr & LCR_DLAB)
			s->divisor = (u16)((s->divisor & 0xff00) | v);
		else
			serial_write_thr(s, v);
		break;
	case IER_DLM:
		if (s->lcr & LCR_DLAB)
			s->divisor = (u16)((s->divisor & 0xff) | v << 8);
		else
			serial_write_ier(s, v);
		break;
	case IIR_FCR:
		serial_write_fcr(s, v);
		break;
	case LCR:
		serial_write_lcr(s, v);
		break;
	case MCR:
		s->mcr = v & 0x1f;
		serial_update_modem(s);
		serial_pull(s);
		break;
	case SCR:
		s->scr = v;
		break;
	default: /* LSR and MSR are for the factory's tests only */
		break;
	}
}

/* Wider accesses reach the neighbours too, a byte each, as on an 8-bit ISA device. */
static u64 serial_read(void *ctx, u64 offset, unsigned size)
{
	struct serial *s = ctx;
	u64 v = 0;

	for (unsigned i = 0; i < size; i++)
		v |= (u64)serial_read_register(s, (unsigned)(offset + i)) << 8 * i;
	serial_update_irq(s);
	return v;
}

static void serial_write(void *ctx, u64 offset, unsigned size, u64 value)
{
	struct serial *s = ctx;

	for (unsigned i = 0; i < size; i++)
		serial_write_register(s, (unsigned)(offset + i), (u8)(value >> 8 * i));
	serial_update_irq(s);
}

static const struct bus_ops serial_ops = {.read = serial_read, .write = serial_write};

static void serial_power_on(struct serial *s)
{
	s->ier = s->lcr = s->mcr = s->lsr_errors = s->scr = s->fcr = 0;
	s->divisor = 12;
	s->msr = serial_modem_inputs(s);
	s->thre_pending = false;
	s->fifo_head = s->fifo_count = 0;
	s->polls = 0;
	s->listening = false;
}

struct serial *serial_new(const struct serial_config *config, struct bus *pio, struct loop *loop,
                          struct error *e)
{
	struct serial *s = calloc(1, sizeof(*s));

	if (!s) {
		error_set(e, ENOMEM, "serial");
		return NULL;
	}
	s->config = *config;
	s->pio = pio;
	s->loop = loop;
	s->drain_call = (struct loop_call){.fn = serial_drain_call, .ctx = s};
	pthread_mutex_init(&s->lock, NULL);
	serial_power_on(s);
	s->region = (struct bus_region){.name = "serial",
	                                .base = config->base,
	                                .size = 8,
	                                .ops = &serial_ops,
	                                .ctx = s,
	                                .lock = &s->lock};
	if (bus_add(pio, &s->region) < 0) {
		error_set(e, EBUSY, "serial port 0x%x", config->base);
		pthread_mutex_destroy(&s->lock);
		free(s);
		return NULL;
	}
	/* The first pull, when the guest listens, finds out whether there is input and asks to be called. */
	struct chardev_client client = {.readable = serial_readable, .writable = serial_drain_call, .ctx = s};
	chardev_attach(config->chardev, &client);
	return s;
}

void serial_reset(struct serial *s)
{
	pthread_mutex_lock(&s->lock);
	serial_power_on(s);
	serial_update_irq(s);
	pthread_mutex_unlock(&s->lock);
}

void serial_free(struct serial *s)
{
	if (!s)
		return;
	u64 end = clock_monotonic_ns() + EXIT_FLUSH_NS;

	bus_remove(s->pio, &s->region);
	pthread_mutex_lock(&s->lock);
	serial_drain(s);
	while (s->ring_count && clock_monotonic_ns() < end) {
		chardev_wait(s->config.chardev, 100);
		serial_drain(s);
	}
	pthread_mutex_unlock(&s->lock);
	chardev_attach(s->config.chardev, NULL);
	pthread_mutex_destroy(&s->lock);
	free(s);
}
