/*
 * Resources: what has an id, an owner, a region and a document in the shape that the API shows it in.
 *
 * A kind is a `struct resource_kind` in the file of its noun. Documents are loaded into the request's arena;
 * a change is written by resource_save().
 */
#pragma once

#include "region/action.h"

enum { RESOURCE_KEYS = 3 };

struct resource_kind {
	const char *name;   /* as in ResourceType of tags: "vpc", "key-pair" */
	const char *prefix; /* of ids: "vpc-" */
	const char *shape;  /* of the document: "Vpc" */
	const char *id;     /* its member with the id: "VpcId" */
	const char *noun;   /* in error codes: "VpcID" in InvalidVpcID.NotFound */
	const char *not_found,
	        *malformed; /* codes, where they are not Invalid + noun + .NotFound, .Malformed */
	/* Filters whose name says not where they look: pairs of name and path, NULL at the end. A path is one
	 * of the document's, "State.Name". */
	const char *const *filters;
	/* Filters for what the document does not have: their names, NULL at the end; what there is for one of them
	 * (texts, NULL at the end); and which of them is the parent, which is looked up. */
	const char *const *derived;
	const char **(*derive)(struct request *r, const struct value *doc, const char *filter);
	const char *parent_filter;
	/* Paths of the document that filters look for often, and of what `state` shows, if it does: each is
	 * looked up (scan.h). */
	const char *indexed[RESOURCE_KEYS], *state;
	/* Before a document is shown or filtered: fills in what is not stored. */
	void (*show)(struct request *r, struct value *doc);
};

/* Defines a kind: RESOURCE_KIND(vpc_kind) = {…}; */
#define RESOURCE_KIND(name_) \
	const struct resource_kind name_ __attribute__((used, section("kinds"), aligned(8)))

/* The kind whose ids begin as text does, or NULL. */
const struct resource_kind *resource_kind_of(const char *id);

struct resource {
	const struct resource_kind *kind;
	const char *id;
	const char *parent, *state; /* "" if none */
	struct value *doc;
	s64 created_ms, seq;
};

/* The shape of a kind's documents. */
unsigned resource_shape(const struct model *m, const struct resource_kind *kind);

/* A new one with its id (and OwnerId, if the shape has it) set; nothing is stored yet. */
struct resource *resource_new(struct request *r, const struct resource_kind *kind);
/* A new random id, "vpc-cidr-assoc-0123…", for what is within a document. */
const char *resource_id_new(struct request *r, const char *prefix);
/* Stores a new one, with the tags that the document has. */
void resource_insert(struct request *r, struct resource *res);
/* Stores document, parent and state. */
void resource_save(struct request *r, struct resource *res);
/* Removes it, its tags, properties and links to others (link.h). */
void resource_delete(struct request *r, struct resource *res);

/* A row of these columns, in an arena. */
#define RESOURCE_COLUMNS "id, parent, state, created, seq, doc"
struct resource *resource_read(struct request *r, const struct resource_kind *kind, struct query *q,
                               struct arena *a);
/* Fills what lookups need of resources that were stored when kinds had other indexes. Once, at the start. */
void resource_index(struct cloud *c);

/* NULL: the caller has none of that id in this region. */
struct resource *resource_find(struct request *r, const struct resource_kind *kind, const char *id);
/* As resource_find(), but says why not in r->fault: Invalid….Malformed, Invalid….NotFound. */
struct resource *resource_get(struct request *r, const struct resource_kind *kind, const char *id);
/* The resource whose id is the string member of the request, which must be set. */
struct resource *resource_of(struct request *r, const struct resource_kind *kind, const char *member);

/* Goes through a kind, oldest first, from behind `after` (0: all); parent NULL: all of the region. fn returns
 * false to stop, and must not go through resources itself. What it is given is gone when it returns: to keep
 * a document, value_copy() it. */
void resource_each(struct request *r, const struct resource_kind *kind, const char *parent, s64 after,
                   bool (*fn)(void *ctx, struct resource *res), void *ctx);
/* All of them, oldest first, in the request's arena; NULL at the end. For kinds of which there are few. */
struct resource **resource_list(struct request *r, const struct resource_kind *kind, const char *parent);
/* How many there are. */
s64 resource_count(struct request *r, const struct resource_kind *kind, const char *parent);
/* The first whose document has `value` at `path`, or NULL. */
struct resource *resource_lookup(struct request *r, const struct resource_kind *kind, const char *path,
                                 const char *value);

/* Does text look like an id with this prefix: 8 or 17 hexadecimal digits behind it? */
bool resource_id_valid(const char *prefix, const char *text);
