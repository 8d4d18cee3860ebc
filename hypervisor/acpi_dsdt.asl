// SPDX-License-Identifier: BSD-3-Clause
// The devices of the machine. acpi_dsdt.h holds them compiled: hypervisor/acpi_dsdt.sh writes that
// file anew after a change, and a unit test compares the two where iasl is installed.
DefinitionBlock ("", "DSDT", 2, "LUNAR", "LUNARVM", 1)
{
	// SLP_TYP 5 in the sleep control register of the FADT
	Name (\_S5, Package () { 5, 0, 0, 0 })

	Scope (\_SB)
	{
		// The synthetic bus: hv_vmbus binds to it. It has no resources, but must say so.
		Device (VMBS)
		{
			Name (_HID, "VMBUS")
			Name (_UID, 0)
			Name (_STA, 0xF)
			Name (_CRS, ResourceTemplate () {})
		}

		Device (COM1)
		{
			Name (_HID, EisaId ("PNP0501"))
			Name (_UID, 0)
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x3F8, 0x3F8, 0x01, 0x08)
				Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { 4 }
			})
		}

		Device (RTC0)
		{
			Name (_HID, EisaId ("PNP0B00"))
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x70, 0x70, 0x01, 0x02)
			})
		}

		Device (PWRB)
		{
			Name (_HID, EisaId ("PNP0C0C"))
			Name (_UID, 0)
		}

		// Line 5 pulses when the host presses the power button.
		Device (GED0)
		{
			Name (_HID, "ACPI0013")
			Name (_UID, 0)
			Name (_CRS, ResourceTemplate ()
			{
				Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { 5 }
			})
			Method (_EVT, 1, Serialized)
			{
				Notify (PWRB, 0x80)
			}
		}
	}
}
