/*
 * verdict_int.h - what the files of lib/verdict share. Nobody else includes it.
 */
#ifndef POSTERN_VERDICT_VERDICT_INT_H
#define POSTERN_VERDICT_VERDICT_INT_H

#include "lib/verdict/verdict.h"

#include <stdint.h>

/* Fill vh, whose host is set and whose other fields are zero. */
void verdict_judge_host(const struct verdict_settings *set,
    const struct facts *facts, uint32_t msg_flags, struct verdict_host *vh);

#endif
