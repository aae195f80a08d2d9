#include "machine/acpi_pm.h"
#include "base/clock.h"

#include <string.h>

#define NS 1000000000ULL

enum { CNT_SCI_EN = 1 << 0, CNT_BM_RLD = 1 << 1, CNT_SLP_TYP_SHIFT = 10, CNT_SLP_EN = 1 << 13 };

#define EVENTS       (PM1_TMR | PM1_GBL | PM1_PWRBTN | PM1_SLPBTN | PM1_RTC)
#define CNT_WRITABLE (CNT_BM_RLD | 7 << CNT_SLP_TYP_SHIFT)

u32 acpi_pm_timer(u64 now)
{
	return (u32)muldiv64(now, ACPI_PM_TIMER_HZ, NS);
}

/* SCI is the level of all that is pending and enabled; the carry alarm runs only while someone waits for it.
 */
static void update(struct acpi_pm *pm, u64 now)
{
	bool high = acpi_pm_timer(now) >> 31;

	if (high != pm->timer_high)
		pm->status |= PM1_TMR;
	pm->timer_high = high;
	irq_set(&pm->sci, (pm->control & CNT_SCI_EN) &&
	                          ((pm->status & pm->enable) || (pm->gpe_status & pm->gpe_enable)));
	if ((pm->enable & PM1_TMR) && !(pm->status & PM1_TMR)) {
		u64 left = BIT(31) - (acpi_pm_timer(now) & MASK(31));

		loop_timer_arm(&pm->alarm, now + muldiv64(left, NS, ACPI_PM_TIMER_HZ) + 1000);
	} else {
		loop_timer_disarm(&pm->alarm);
	}
}

static void alarm_fired(void *ctx)
{
	struct acpi_pm *pm = ctx;

	pthread_mutex_lock(&pm->lock);
	update(pm, clock_monotonic_ns());
	pthread_mutex_unlock(&pm->lock);
}

int acpi_pm_init(struct acpi_pm *pm, struct irq_line sci, void (*poweroff)(void *ctx), void *ctx,
                 struct loop *loop, struct error *e)
{
	memset(pm, 0, sizeof(*pm));
	pm->sci = sci;
	pm->poweroff = poweroff;
	pm->ctx = ctx;
	if (loop_timer_init(loop, &pm->alarm, alarm_fired, pm, e) < 0)
		return -1;
	pthread_mutex_init(&pm->lock, NULL);
	acpi_pm_reset(pm);
	return 0;
}

void acpi_pm_release(struct acpi_pm *pm)
{
	loop_timer_release(&pm->alarm);
	pthread_mutex_destroy(&pm->lock);
}

void acpi_pm_reset(struct acpi_pm *pm)
{
	u64 now = clock_monotonic_ns();

	pthread_mutex_lock(&pm->lock);
	pm->status = pm->enable = pm->control = pm->gpe_status = pm->gpe_enable = 0;
	pm->smi_command = pm->smi_status = 0;
	pm->timer_high = acpi_pm_timer(now) >> 31;
	update(pm, now);
	pthread_mutex_unlock(&pm->lock);
}

void acpi_pm_power_button(struct acpi_pm *pm)
{
	pthread_mutex_lock(&pm->lock);
	pm->status |= PM1_PWRBTN;
	update(pm, clock_monotonic_ns());
	pthread_mutex_unlock(&pm->lock);
}

void acpi_pm_gpe(struct acpi_pm *pm, unsigned n)
{
	pthread_mutex_lock(&pm->lock);
	pm->gpe_status |= (u16)BIT(n & 15);
	update(pm, clock_monotonic_ns());
	pthread_mutex_unlock(&pm->lock);
}

/* The 16-bit register that a port belongs to. */
static u16 *reg(struct acpi_pm *pm, u16 port)
{
	switch (port & ~1u) {
	case ACPI_PM1_EVT:
		return &pm->status;
	case ACPI_PM1_EVT + 2:
		return &pm->enable;
	case ACPI_PM1_CNT:
		return &pm->control;
	case ACPI_GPE0:
		return &pm->gpe_status;
	case ACPI_GPE0 + 2:
		return &pm->gpe_enable;
	}
	return NULL;
}

u8 acpi_pm_read(struct acpi_pm *pm, u16 port, u64 now)
{
	u8 value = 0;

	pthread_mutex_lock(&pm->lock);
	update(pm, now);
	if (port >= ACPI_PM_TMR && port < ACPI_PM_TMR + 4)
		value = (u8)(acpi_pm_timer(now) >> (port - ACPI_PM_TMR) * 8);
	else if (port == ACPI_SMI_CMD)
		value = pm->smi_command;
	else if (port == ACPI_SMI_CMD + 1)
		value = pm->smi_status;
	else if (reg(pm, port))
		value = (u8)(*reg(pm, port) >> (port & 1) * 8);
	pthread_mutex_unlock(&pm->lock);
	return value;
}

/* Returns true if the machine is to go to S5. */
static bool write_control(struct acpi_pm *pm, u16 value, u16 mask)
{
	u16 writable = CNT_WRITABLE & mask;

	pm->control = (u16)((pm->control & ~writable) | (value & writable));
	return (value & mask & CNT_SLP_EN) && (pm->control >> CNT_SLP_TYP_SHIFT & 7) == ACPI_S5_TYPE;
}

/* Bits of value under mask go to the 16-bit register at an even port. */
static bool write16(struct acpi_pm *pm, u16 port, u16 value, u16 mask)
{
	switch (port) {
	case ACPI_PM1_EVT:
		pm->status &= (u16) ~(value & mask);
		break;
	case ACPI_PM1_EVT + 2:
		pm->enable = (u16)((pm->enable & ~mask) | (value & mask & EVENTS));
		break;
	case ACPI_PM1_CNT:
		return write_control(pm, value, mask);
	case ACPI_GPE0:
		pm->gpe_status &= (u16) ~(value & mask);
		break;
	case ACPI_GPE0 + 2:
		pm->gpe_enable = (u16)((pm->gpe_enable & ~mask) | (value & mask));
		break;
	}
	return false;
}

static void write_smi(struct acpi_pm *pm, u16 port, u8 value)
{
	if (port != ACPI_SMI_CMD) {
		pm->smi_status = value;
		return;
	}
	pm->smi_command = value;
	if (value == ACPI_ENABLE)
		pm->control |= CNT_SCI_EN;
	else if (value == ACPI_DISABLE)
		pm->control &= (u16)~CNT_SCI_EN;
}

void acpi_pm_write(struct acpi_pm *pm, u16 port, unsigned size, u32 value, u64 now)
{
	bool off = false;

	pthread_mutex_lock(&pm->lock);
	update(pm, now);
	if (port == ACPI_SMI_CMD || port == ACPI_SMI_CMD + 1) {
		write_smi(pm, port, (u8)value);
	} else if (size == 1) {
		unsigned shift = (port & 1) * 8;

		off = write16(pm, port & ~1u, (u16)(value << shift), (u16)(0xff << shift));
	} else if (!(port & 1)) {
		off = write16(pm, port, (u16)value, 0xffff);
		if (size == 4)
			off |= write16(pm, port + 2, (u16)(value >> 16), 0xffff);
	}
	update(pm, now);
	pthread_mutex_unlock(&pm->lock);
	if (off)
		pm->poweroff(pm->ctx);
}

static u64 read_any(struct acpi_pm *pm, u16 port, unsigned size)
{
	u64 now = clock_monotonic_ns(), value = 0;

	for (unsigned i = 0; i < size; i++)
		value |= (u64)acpi_pm_read(pm, (u16)(port + i), now) << i * 8;
	return value;
}

#define PM_PORTS(name, port)                                                                      \
	static u64 name##_read(void *ctx, u64 offset, unsigned size)                              \
	{                                                                                         \
		return read_any(ctx, (u16)(port + offset), size);                                 \
	}                                                                                         \
	static void name##_write(void *ctx, u64 offset, unsigned size, u64 value)                 \
	{                                                                                         \
		acpi_pm_write(ctx, (u16)(port + offset), size, (u32)value, clock_monotonic_ns()); \
	}                                                                                         \
	static const struct bus_ops name##_ops = {name##_read, name##_write};

PM_PORTS(pm1, ACPI_PM1_EVT)
PM_PORTS(timer, ACPI_PM_TMR)
PM_PORTS(gpe, ACPI_GPE0)
PM_PORTS(smi, ACPI_SMI_CMD)

int acpi_pm_map(struct acpi_pm *pm, struct bus *pio)
{
	pm->pm1 = (struct bus_region){.name = "acpi pm1",
	                              .base = ACPI_PM1_EVT,
	                              .size = 8,
	                              .ops = &pm1_ops,
	                              .ctx = pm,
	                              .max_size = 4};
	pm->timer = (struct bus_region){.name = "acpi timer",
	                                .base = ACPI_PM_TMR,
	                                .size = 4,
	                                .ops = &timer_ops,
	                                .ctx = pm,
	                                .max_size = 4};
	pm->gpe = (struct bus_region){.name = "acpi gpe0",
	                              .base = ACPI_GPE0,
	                              .size = ACPI_GPE0_BYTES,
	                              .ops = &gpe_ops,
	                              .ctx = pm,
	                              .max_size = 4};
	pm->smi = (struct bus_region){.name = "smi command",
	                              .base = ACPI_SMI_CMD,
	                              .size = 2,
	                              .ops = &smi_ops,
	                              .ctx = pm,
	                              .max_size = 1};
	if (bus_add(pio, &pm->pm1) < 0 || bus_add(pio, &pm->timer) < 0 || bus_add(pio, &pm->gpe) < 0 ||
	    bus_add(pio, &pm->smi) < 0)
		return -1;
	return 0;
}
