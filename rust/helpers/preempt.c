// SPDX-License-Identifier: GPL-2.0

#include <linux/preempt.h>
#include <linux/sched.h>

__rust_helper void rust_helper_migrate_disable(void)
{
	migrate_disable();
}

__rust_helper void rust_helper_migrate_enable(void)
{
	migrate_enable();
}

__rust_helper void rust_helper_preempt_disable(void)
{
	preempt_disable();
}

__rust_helper void rust_helper_preempt_enable(void)
{
	preempt_enable();
}

__rust_helper bool rust_helper_in_hardirq(void)
{
	return in_hardirq();
}
