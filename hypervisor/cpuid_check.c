/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Comparison of CPUID tables. See cpuid_check.h.
 */
#include "hypervisor/cpuid_check.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "wire/tlfs.h"

#define LEAF_VENDOR   0x0u
#define LEAF_FEATURES 0x1u
#define LEAF_EXTENDED 0x7u
#define LEAF_PERFMON  0xau
#define LEAF_XSAVE    0xdu
#define LEAF_CAPACITY 0x80000008u

#define XSAVE_COMPONENTS 63

enum cpuid_register { CPUID_EAX, CPUID_EBX, CPUID_ECX, CPUID_EDX };

/* A register whose bits are features. Bits of ignored are not promises: an operating system sets
 * them, or the topology, or another leaf says the same. */
struct feature_word {
	uint32_t function;
	uint32_t index;
	enum cpuid_register reg;
	uint32_t ignored;
	const char *names[32];
};

static const char *const register_names[] = {"eax", "ebx", "ecx", "edx"};

static const struct feature_word feature_words[] = {
	{LEAF_FEATURES,
	 0,
	 CPUID_ECX,
	 HV_BIT32(27) /* osxsave */,
	 {[0] = "sse3",
	  [1] = "pclmulqdq",
	  [2] = "dtes64",
	  [3] = "monitor",
	  [4] = "ds_cpl",
	  [5] = "vmx",
	  [6] = "smx",
	  [7] = "est",
	  [8] = "tm2",
	  [9] = "ssse3",
	  [11] = "sdbg",
	  [12] = "fma",
	  [13] = "cx16",
	  [14] = "xtpr",
	  [15] = "pdcm",
	  [17] = "pcid",
	  [18] = "dca",
	  [19] = "sse4_1",
	  [20] = "sse4_2",
	  [21] = "x2apic",
	  [22] = "movbe",
	  [23] = "popcnt",
	  [24] = "tsc_deadline_timer",
	  [25] = "aes",
	  [26] = "xsave",
	  [28] = "avx",
	  [29] = "f16c",
	  [30] = "rdrand",
	  [31] = "hypervisor"}},
	{LEAF_FEATURES,
	 0,
	 CPUID_EDX,
	 HV_BIT32(28) /* ht */,
	 {[0] = "fpu",	 [1] = "vme",	 [2] = "de",	[3] = "pse",	  [4] = "tsc",
	  [5] = "msr",	 [6] = "pae",	 [7] = "mce",	[8] = "cx8",	  [9] = "apic",
	  [11] = "sep",	 [12] = "mtrr",	 [13] = "pge",	[14] = "mca",	  [15] = "cmov",
	  [16] = "pat",	 [17] = "pse36", [18] = "pn",	[19] = "clflush", [21] = "dts",
	  [22] = "acpi", [23] = "mmx",	 [24] = "fxsr", [25] = "sse",	  [26] = "sse2",
	  [27] = "ss",	 [29] = "tm",	 [31] = "pbe"}},
	{0x6, 0, CPUID_EAX, 0, {[2] = "arat"}},
	{LEAF_EXTENDED,
	 0,
	 CPUID_EBX,
	 0,
	 {[0] = "fsgsbase",
	  [1] = "tsc_adjust",
	  [2] = "sgx",
	  [3] = "bmi1",
	  [4] = "hle",
	  [5] = "avx2",
	  [6] = "fdp_excptn_only",
	  [7] = "smep",
	  [8] = "bmi2",
	  [9] = "erms",
	  [10] = "invpcid",
	  [11] = "rtm",
	  [13] = "zero_fcs_fds",
	  [14] = "mpx",
	  [16] = "avx512f",
	  [17] = "avx512dq",
	  [18] = "rdseed",
	  [19] = "adx",
	  [20] = "smap",
	  [21] = "avx512ifma",
	  [23] = "clflushopt",
	  [24] = "clwb",
	  [25] = "intel_pt",
	  [26] = "avx512pf",
	  [27] = "avx512er",
	  [28] = "avx512cd",
	  [29] = "sha_ni",
	  [30] = "avx512bw",
	  [31] = "avx512vl"}},
	{LEAF_EXTENDED,
	 0,
	 CPUID_ECX,
	 HV_BIT32(4) /* ospke */,
	 {[1] = "avx512vbmi",	[2] = "umip",		[3] = "pku",
	  [5] = "waitpkg",	[6] = "avx512_vbmi2",	[7] = "shstk",
	  [8] = "gfni",		[9] = "vaes",		[10] = "vpclmulqdq",
	  [11] = "avx512_vnni", [12] = "avx512_bitalg", [14] = "avx512_vpopcntdq",
	  [16] = "la57",	[22] = "rdpid",		[24] = "bus_lock_detect",
	  [25] = "cldemote",	[27] = "movdiri",	[28] = "movdir64b",
	  [29] = "enqcmd",	[30] = "sgx_lc",	[31] = "pks"}},
	{LEAF_EXTENDED,
	 0,
	 CPUID_EDX,
	 0,
	 {[2] = "avx512_4vnniw",
	  [3] = "avx512_4fmaps",
	  [4] = "fsrm",
	  [8] = "avx512_vp2intersect",
	  [10] = "md_clear",
	  [14] = "serialize",
	  [16] = "tsxldtrk",
	  [20] = "ibt",
	  [22] = "amx_bf16",
	  [23] = "avx512_fp16",
	  [24] = "amx_tile",
	  [25] = "amx_int8",
	  [26] = "spec_ctrl",
	  [27] = "stibp",
	  [28] = "flush_l1d",
	  [29] = "arch_capabilities",
	  [30] = "core_capabilities",
	  [31] = "ssbd"}},
	{LEAF_EXTENDED,
	 1,
	 CPUID_EAX,
	 0,
	 {[4] = "avx_vnni",
	  [5] = "avx512_bf16",
	  [10] = "fzrm",
	  [11] = "fsrs",
	  [12] = "fsrc",
	  [21] = "amx_fp16",
	  [23] = "avx_ifma"}},
	{LEAF_EXTENDED,
	 1,
	 CPUID_EDX,
	 0,
	 {[4] = "avx_vnni_int8", [5] = "avx_ne_convert", [14] = "prefetchiti"}},
	{LEAF_XSAVE,
	 0,
	 CPUID_EAX,
	 0,
	 {[0] = "xsave of x87",
	  [1] = "xsave of sse",
	  [2] = "xsave of avx",
	  [3] = "xsave of mpx",
	  [4] = "xsave of mpx",
	  [5] = "xsave of avx512",
	  [6] = "xsave of avx512",
	  [7] = "xsave of avx512",
	  [9] = "xsave of pku",
	  [17] = "xsave of amx",
	  [18] = "xsave of amx"}},
	{LEAF_XSAVE, 0, CPUID_EDX, 0, {NULL}},
	{LEAF_XSAVE,
	 1,
	 CPUID_EAX,
	 0,
	 {[0] = "xsaveopt", [1] = "xsavec", [2] = "xgetbv1", [3] = "xsaves", [4] = "xfd"}},
	{0x80000001,
	 0,
	 CPUID_ECX,
	 HV_BIT32(1) /* cmp_legacy */,
	 {[0] = "lahf_lm",
	  [2] = "svm",
	  [3] = "extapic",
	  [4] = "cr8_legacy",
	  [5] = "abm",
	  [6] = "sse4a",
	  [7] = "misalignsse",
	  [8] = "3dnowprefetch",
	  [9] = "osvw",
	  [10] = "ibs",
	  [11] = "xop",
	  [12] = "skinit",
	  [13] = "wdt",
	  [15] = "lwp",
	  [16] = "fma4",
	  [21] = "tbm",
	  [22] = "topoext",
	  [23] = "perfctr_core"}},
	{0x80000001,
	 0,
	 CPUID_EDX,
	 0x0183f3ff /* leaf 1 */,
	 {[11] = "syscall",
	  [19] = "mp",
	  [20] = "nx",
	  [22] = "mmxext",
	  [25] = "fxsr_opt",
	  [26] = "pdpe1gb",
	  [27] = "rdtscp",
	  [29] = "lm",
	  [30] = "3dnowext",
	  [31] = "3dnow"}},
	{0x80000007, 0, CPUID_EDX, 0, {[8] = "constant_tsc"}},
	{LEAF_CAPACITY,
	 0,
	 CPUID_EBX,
	 0,
	 {[0] = "clzero",
	  [1] = "irperf",
	  [2] = "xsaveerptr",
	  [4] = "rdpru",
	  [9] = "wbnoinvd",
	  [12] = "ibpb",
	  [14] = "ibrs",
	  [15] = "amd_stibp",
	  [17] = "stibp_always_on",
	  [23] = "amd_ppin",
	  [24] = "amd_ssbd",
	  [25] = "virt_ssbd",
	  [26] = "amd_ssb_no",
	  [28] = "amd_psfd"}},
	{0x8000000a,
	 0,
	 CPUID_EDX,
	 0,
	 {[0] = "npt",
	  [1] = "lbrv",
	  [3] = "nrip_save",
	  [4] = "tsc_scale",
	  [5] = "vmcb_clean",
	  [6] = "flushbyasid",
	  [10] = "pausefilter",
	  [12] = "pfthreshold",
	  [15] = "v_vmsave_vmload",
	  [16] = "vgif"}},
	{0x80000021,
	 0,
	 CPUID_EAX,
	 0,
	 {[0] = "no_nested_data_bp", [2] = "lfence_rdtsc", [6] = "null_sel_clr_base"}},
	{HV_CPUID_FEATURES,
	 0,
	 CPUID_EAX,
	 0,
	 {[0] = "hv vp-runtime",
	  [1] = "hv time",
	  [2] = "hv synic",
	  [3] = "hv stimer",
	  [4] = "hv apic",
	  [5] = "hv hypercall",
	  [6] = "hv vp-index",
	  [7] = "hv reset",
	  [9] = "hv reference-tsc",
	  [11] = "hv frequencies",
	  [13] = "hv reenlightenment",
	  [15] = "hv tsc-invariant"}},
	{HV_CPUID_FEATURES, 0, CPUID_EBX, 0, {[4] = "hv post-messages", [5] = "hv signal-events"}},
	{HV_CPUID_FEATURES,
	 0,
	 CPUID_EDX,
	 0,
	 {[4] = "hv xmm-input",
	  [8] = "hv frequency-msrs",
	  [10] = "hv crash",
	  [15] = "hv xmm-output",
	  [19] = "hv stimer-direct"}},
	{HV_CPUID_HINTS,
	 0,
	 CPUID_EAX,
	 0,
	 {[1] = "hv local-tlbflush",
	  [2] = "hv tlbflush",
	  [3] = "hv apic-msrs",
	  [5] = "hv relaxed",
	  [9] = "hv no-autoeoi",
	  [10] = "hv ipi",
	  [11] = "hv ex-processor-masks",
	  [14] = "hv evmcs"}},
};

struct findings {
	char *text;
	size_t size;
	size_t used;
	bool any;
	bool full;
};

static void finding_add(struct findings *findings, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void finding_add(struct findings *findings, const char *format, ...)
{
	static const char more[] = ", ...";
	char one[96];
	va_list args;
	size_t length;

	va_start(args, format);
	vsnprintf(one, sizeof(one), format, args);
	va_end(args);
	length = strlen(one) + (findings->any ? 2 : 0);
	if (!findings->full && findings->used + length + sizeof(more) <= findings->size) {
		snprintf(findings->text + findings->used, findings->size - findings->used, "%s%s",
			 findings->any ? ", " : "", one);
		findings->used += length;
	} else if (!findings->full) {
		findings->full = true;
		if (findings->used + sizeof(more) <= findings->size)
			memcpy(findings->text + findings->used, more, sizeof(more));
	}
	findings->any = true;
}

static const struct cpuid_leaf *leaf_find(const struct cpuid_table *table, uint32_t function,
					  uint32_t index)
{
	for (size_t i = 0; i < table->count; i++) {
		const struct cpuid_leaf *leaf = &table->leaves[i];

		if (leaf->function == function && (leaf->indexed ? leaf->index : 0) == index)
			return leaf;
	}
	return NULL;
}

/* A leaf that is not there reads as zero. */
static uint32_t register_read(const struct cpuid_table *table, uint32_t function, uint32_t index,
			      enum cpuid_register reg)
{
	const struct cpuid_leaf *leaf = leaf_find(table, function, index);

	if (!leaf)
		return 0;
	switch (reg) {
	case CPUID_EAX:
		return leaf->eax;
	case CPUID_EBX:
		return leaf->ebx;
	case CPUID_ECX:
		return leaf->ecx;
	default:
		return leaf->edx;
	}
}

static void word_check(const struct feature_word *word, const struct cpuid_table *guest,
		       const struct cpuid_table *host, struct findings *findings)
{
	uint32_t missing = register_read(guest, word->function, word->index, word->reg) &
			   ~register_read(host, word->function, word->index, word->reg) &
			   ~word->ignored;

	for (uint32_t bit = 0; bit < 32; bit++) {
		if (!(missing & HV_BIT32(bit)))
			continue;
		if (word->names[bit])
			finding_add(findings, "%s", word->names[bit]);
		else
			finding_add(findings, "leaf 0x%x%s %s bit %u", word->function,
				    word->index ? ".1" : "", register_names[word->reg], bit);
	}
}

/* The maker's name, 12 characters; what is not for people's eyes as '?'. */
static void vendor_read(const struct cpuid_table *table, char vendor[13])
{
	const uint32_t words[3] = {register_read(table, LEAF_VENDOR, 0, CPUID_EBX),
				   register_read(table, LEAF_VENDOR, 0, CPUID_EDX),
				   register_read(table, LEAF_VENDOR, 0, CPUID_ECX)};

	memcpy(vendor, words, sizeof(words));
	vendor[12] = '\0';
	for (size_t i = 0; i < 12; i++)
		if (vendor[i] < ' ' || vendor[i] > '~')
			vendor[i] = '?';
}

static void vendor_check(const struct cpuid_table *guest, const struct cpuid_table *host,
			 struct findings *findings)
{
	char promised[13];
	char here[13];

	vendor_read(guest, promised);
	vendor_read(host, here);
	if (memcmp(promised, here, sizeof(here)) != 0)
		finding_add(findings, "a processor by %s (this one is by %s)", promised, here);
}

/* Where the guest's XSAVE image has each component: the processor's choice, not ours. */
static void xsave_check(const struct cpuid_table *guest, const struct cpuid_table *host,
			struct findings *findings)
{
	uint64_t components = register_read(guest, LEAF_XSAVE, 0, CPUID_EAX) |
			      (uint64_t)register_read(guest, LEAF_XSAVE, 0, CPUID_EDX) << 32;
	uint32_t bytes = register_read(guest, LEAF_XSAVE, 0, CPUID_ECX);
	uint32_t here = register_read(host, LEAF_XSAVE, 0, CPUID_ECX);

	if (bytes > here)
		finding_add(findings, "an XSAVE area of %u bytes (%u here)", bytes, here);
	for (uint32_t i = 2; i < XSAVE_COMPONENTS; i++) {
		if (!(components & HV_BIT64(i)))
			continue;
		if (register_read(guest, LEAF_XSAVE, i, CPUID_EAX) !=
			    register_read(host, LEAF_XSAVE, i, CPUID_EAX) ||
		    register_read(guest, LEAF_XSAVE, i, CPUID_EBX) !=
			    register_read(host, LEAF_XSAVE, i, CPUID_EBX))
			finding_add(findings, "the layout of XSAVE component %u", i);
	}
}

static void capacity_check(const struct cpuid_table *guest, const struct cpuid_table *host,
			   struct findings *findings)
{
	uint32_t bits = register_read(guest, LEAF_CAPACITY, 0, CPUID_EAX) & 0xff;
	uint32_t here = register_read(host, LEAF_CAPACITY, 0, CPUID_EAX) & 0xff;
	uint32_t perfmon = register_read(guest, LEAF_PERFMON, 0, CPUID_EAX) & 0xff;

	if (bits > here)
		finding_add(findings, "%u physical address bits (%u here)", bits, here);
	if (perfmon > (register_read(host, LEAF_PERFMON, 0, CPUID_EAX) & 0xff))
		finding_add(findings, "performance monitoring version %u", perfmon);
}

int cpuid_check(const struct cpuid_table *guest, const struct cpuid_table *host, char *text,
		size_t size)
{
	struct findings findings = {.text = text, .size = size};

	text[0] = '\0';
	vendor_check(guest, host, &findings);
	for (size_t i = 0; i < sizeof(feature_words) / sizeof(feature_words[0]); i++)
		word_check(&feature_words[i], guest, host, &findings);
	xsave_check(guest, host, &findings);
	capacity_check(guest, host, &findings);
	return findings.any ? -EOPNOTSUPP : 0;
}

/* ---- IA32_ARCH_CAPABILITIES ---- */

#define EDX_ARCH_CAPABILITIES HV_BIT32(29)

/* Bits that say that the processor is vulnerable: all others say that it is not, or that a control
 * is there. */
#define ARCH_RSBA	(UINT64_C(1) << 2)
#define ARCH_RRSBA	(UINT64_C(1) << 19)
#define ARCH_VULNERABLE (ARCH_RSBA | ARCH_RRSBA)

static const char *const arch_capability_names[64] = {
	[0] = "rdcl_no",
	[1] = "ibrs_all",
	[2] = "return predictions that keep to themselves (rsba)",
	[3] = "skip_l1dfl_vmentry",
	[4] = "ssb_no",
	[5] = "mds_no",
	[6] = "pschange_mc_no",
	[7] = "tsx_ctrl",
	[8] = "taa_no",
	[13] = "sbdr_ssdp_no",
	[14] = "fbsdp_no",
	[15] = "psdp_no",
	[17] = "fb_clear",
	[19] = "return predictions that keep to themselves (rrsba)",
	[20] = "bhi_no",
	[24] = "pbrsb_no",
	[26] = "gds_no",
	[27] = "rfds_no",
	[28] = "rfds_clear",
	[62] = "its_no",
};

int cpuid_check_arch_capabilities(const struct cpuid_table *table, uint64_t guest, uint64_t host,
				  char *text, size_t size)
{
	struct findings findings = {.text = text, .size = size};
	uint64_t missing = (guest & ~host & ~ARCH_VULNERABLE) | (host & ~guest & ARCH_VULNERABLE);

	text[0] = '\0';
	if (!(register_read(table, LEAF_EXTENDED, 0, CPUID_EDX) & EDX_ARCH_CAPABILITIES))
		return 0;
	for (uint32_t bit = 0; bit < 64; bit++) {
		if (!(missing & HV_BIT64(bit)))
			continue;
		if (arch_capability_names[bit])
			finding_add(&findings, "%s", arch_capability_names[bit]);
		else
			finding_add(&findings, "IA32_ARCH_CAPABILITIES bit %u", bit);
	}
	return findings.any ? -EOPNOTSUPP : 0;
}
