/*
 * ACPI fixed hardware (ACPI 6.4 §4.8.3): PM1a event and control blocks, the 32-bit PM timer, GPE0 block, and
 * the SMI command port that switches ACPI mode on. SCI is GSI 9, level. Own lock, any thread.
 */
#pragma once

#include "base/loop.h"
#include "base/types.h"
#include "machine/bus.h"
#include "machine/irq.h"

#include <pthread.h>

/* Ports, as the FADT tells them. */
#define ACPI_PM1_EVT     0x600
#define ACPI_PM1_CNT     0x604
#define ACPI_PM_TMR      0x608
#define ACPI_GPE0        0x620
#define ACPI_GPE0_BYTES  4 /* 16 events: status, enable */
#define ACPI_SMI_CMD     0xb2
#define ACPI_ENABLE      0xa0
#define ACPI_DISABLE     0xa1
#define ACPI_SCI         9
#define ACPI_S5_TYPE     0 /* what firmware and small guests assume */
#define ACPI_PM_TIMER_HZ 3579545ULL

enum { PM1_TMR = 1 << 0, PM1_GBL = 1 << 5, PM1_PWRBTN = 1 << 8, PM1_SLPBTN = 1 << 9, PM1_RTC = 1 << 10 };

struct acpi_pm {
	pthread_mutex_t lock;
	u16 status, enable, control;
	u16 gpe_status, gpe_enable;
	u8 smi_status; /* port 0xb3 */
	u8 smi_command;
	bool timer_high; /* bit 31 of the timer when it was last looked at */
	struct irq_line sci;
	struct loop_timer alarm;
	void (*poweroff)(void *ctx);
	void *ctx;
	struct bus_region pm1, timer, gpe, smi;
};

int acpi_pm_init(struct acpi_pm *pm, struct irq_line sci, void (*poweroff)(void *ctx), void *ctx,
                 struct loop *loop, struct error *e);
void acpi_pm_release(struct acpi_pm *pm);
void acpi_pm_reset(struct acpi_pm *pm);
int acpi_pm_map(struct acpi_pm *pm, struct bus *pio);

void acpi_pm_power_button(struct acpi_pm *pm);
/* Raises general-purpose event n (0–15). */
void acpi_pm_gpe(struct acpi_pm *pm, unsigned n);

/* A byte of a register, by port; at a CLOCK_MONOTONIC time. */
u8 acpi_pm_read(struct acpi_pm *pm, u16 port, u64 now_ns);
/* A write of size bytes (1, 2 or 4) to PM1, GPE or SMI ports. */
void acpi_pm_write(struct acpi_pm *pm, u16 port, unsigned size, u32 value, u64 now_ns);
u32 acpi_pm_timer(u64 now_ns);
