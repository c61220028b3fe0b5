/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* No machine-specific byte swaps: linux/swab.h has generic ones. */
