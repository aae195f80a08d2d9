/*
 * The schema, as the steps that made it: step n brings version n to n + 1. A step that was released is never
 * changed; what is new is a step at the end.
 */
#pragma once

extern const char *const schema_steps[];
extern const unsigned schema_steps_count;
