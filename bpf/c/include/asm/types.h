/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The generic header stands in for the machine's own, so that generation does
 * not depend on the architecture it runs on. */
#include <asm-generic/types.h>
