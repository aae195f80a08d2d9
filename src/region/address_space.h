/*
 * Address spaces: which addresses of a block are taken, and by whom. A subnet is one (its id), the public
 * addresses of the whole cloud are another ("public").
 *
 * IPv4 addresses are handed out in turn, so that one that was given back rests as long as it can; IPv6 ones
 * at random. A delegated prefix takes its addresses (IPv4, at most 16), or is a row of its own (IPv6).
 */
#pragma once

#include "region/action.h"
#include "base/cidr.h"

/* Takes this one. False: it is taken. */
bool address_take(struct request *r, const char *space, struct ip a, const char *holder);
/* Takes a free one between first and last (IPv4), or at random in a block (IPv6). False: there is none. */
bool address_take_any(struct request *r, const char *space, struct ip first, struct ip last,
                      const char *holder, struct ip *out);
bool address_take_random(struct request *r, const char *space, struct cidr block, const char *holder,
                         struct ip *out);
/* Takes all of a block of IPv4, of at most 256. False: one is taken, or held back (see below). */
bool address_take_block(struct request *r, const char *space, struct cidr block, const char *holder);
void address_give_back(struct request *r, const char *space, struct ip a);
void address_give_back_block(struct request *r, const char *space, struct cidr block);
/* Is any of the block's taken? */
bool address_any_taken(struct request *r, const char *space, struct cidr block);
/* Who has it; NULL: nobody. In the request's arena. */
const char *address_holder(struct request *r, const char *space, struct ip a);
/* How many of IPv4 are taken. */
s64 address_used(struct request *r, const char *space);
/* Forgets the space. */
void address_space_delete(struct request *r, const char *space);
