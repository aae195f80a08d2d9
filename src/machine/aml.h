/*
 * A writer of ACPI Machine Language (ACPI 6.4 §20.2): blocks are opened and closed, and everything between is
 * written in order. Memory grows as needed; a failed allocation is remembered and told by aml_ok().
 */
#pragma once

#include "base/types.h"

#define AML_MAX_DEPTH 16

struct aml {
	u8 *data;
	size_t len, size;
	bool failed;
	struct {
		size_t length_at; /* where the package length goes */
		size_t size_at;   /* resource template: where the buffer's size goes, else 0 */
	} open[AML_MAX_DEPTH];
	unsigned depth;
};

void aml_init(struct aml *a);
void aml_release(struct aml *a);
static inline bool aml_ok(const struct aml *a)
{
	return !a->failed;
}

void aml_bytes(struct aml *a, const void *data, size_t len);
void aml_byte(struct aml *a, u8 v);

/* Names are paths of segments of up to four characters: "\\_SB.PCI0", "_CRS". */
void aml_path(struct aml *a, const char *path);
void aml_int(struct aml *a, u64 v);
void aml_string(struct aml *a, const char *s);
/* "PNP0A08" in its compressed form. */
void aml_eisa_id(struct aml *a, const char *id);
void aml_buffer(struct aml *a, const void *data, u8 len);

/* Name (path, value) */
void aml_name(struct aml *a, const char *path); /* the value is written next */
void aml_name_int(struct aml *a, const char *path, u64 v);
void aml_name_string(struct aml *a, const char *path, const char *s);
void aml_name_eisa_id(struct aml *a, const char *path, const char *id);

/* Blocks; each is closed by aml_end(). */
void aml_scope(struct aml *a, const char *path);
void aml_device(struct aml *a, const char *path);
void aml_method(struct aml *a, const char *path, unsigned args);
void aml_package(struct aml *a, u8 elements);
void aml_if(struct aml *a); /* the predicate is written next */
void aml_else(struct aml *a);
void aml_resources(struct aml *a); /* ResourceTemplate, after aml_name(…, "_CRS") */
void aml_end(struct aml *a);

/* OperationRegion (path, SystemIO, base, len), and the 32-bit registers in it, one for each name; up to NULL.
 */
void aml_io_registers(struct aml *a, const char *path, u16 base, u8 len, const char *const *names);

/* Operators for small methods. */
void aml_store(struct aml *a); /* the value is written next, then where it goes */
void aml_local(struct aml *a, unsigned n);
void aml_and(struct aml *a, unsigned local, u64 mask);
void aml_notify(struct aml *a, const char *path, u8 value);
void aml_arg(struct aml *a, unsigned n);
void aml_return(struct aml *a); /* the value is written next */
void aml_equal(struct aml *a);  /* two operands are written next */

/* Resource descriptors (§6.4). */
void aml_io(struct aml *a, u16 base, u8 len);
void aml_irq(struct aml *a, unsigned irq);
void aml_memory32_fixed(struct aml *a, u32 base, u32 len);
void aml_bus_range(struct aml *a, u16 first, u16 last);
void aml_io_window(struct aml *a, u16 first, u16 last);
void aml_memory_window(struct aml *a, u32 first, u32 last);
void aml_memory_window64(struct aml *a, u64 first, u64 last);
