/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The objects are built for little-endian machines only (-target bpfel). */
#include <linux/byteorder/little_endian.h>
