/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VSTOR, the protocol between a guest's storvsc and the parent's storvsp, on a SCSI controller's
 * channels: version, properties, sub-channels, and SCSI requests (SRBs). Little-endian. A packet is
 * a 12-byte header and a body; the answer is a completion of the same transaction, of the request's
 * size. A request's data is the buffer of its GPA-direct packet.
 *
 * Source: observed: Linux 6.1 drivers/scsi/storvsc_drv.c (struct vstor_packet), OpenVMM
 * vm/devices/storage/storvsp_protocol (operations and status words that Linux does not name).
 */
#ifndef LUNAR_WIRE_VSTOR_H
#define LUNAR_WIRE_VSTOR_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define VSTOR_VERSION(major, minor) ((uint16_t)((major) << 8 | (minor)))
#define VSTOR_VERSION_5_1	    VSTOR_VERSION(5, 1)
#define VSTOR_VERSION_6_0	    VSTOR_VERSION(6, 0)
#define VSTOR_VERSION_6_2	    VSTOR_VERSION(6, 2)

enum vstor_operation {
	VSTOR_COMPLETE_IO = 1, /* every answer */
	VSTOR_REMOVE_DEVICE = 2,
	VSTOR_EXECUTE_SRB = 3,
	VSTOR_RESET_LUN = 4,
	VSTOR_RESET_ADAPTER = 5,
	VSTOR_RESET_BUS = 6,
	VSTOR_BEGIN_INITIALIZATION = 7,
	VSTOR_END_INITIALIZATION = 8,
	VSTOR_QUERY_PROTOCOL_VERSION = 9,
	VSTOR_QUERY_PROPERTIES = 10,
	VSTOR_ENUMERATE_BUS = 11, /* to the guest, in-band, transaction 0: look for LUNs again */
	VSTOR_FCHBA_DATA = 12,
	VSTOR_CREATE_SUB_CHANNELS = 13,
};

/* Status of a packet: NTSTATUS. Linux asks only whether it is 0. */
#define VSTOR_STATUS_SUCCESS		   UINT32_C(0)
#define VSTOR_STATUS_DEVICE_BUSY	   UINT32_C(0x80000011)
#define VSTOR_STATUS_UNSUCCESSFUL	   UINT32_C(0xc0000001)
#define VSTOR_STATUS_INVALID_PARAMETER	   UINT32_C(0xc000000d)
#define VSTOR_STATUS_REVISION_MISMATCH	   UINT32_C(0xc0000059)
#define VSTOR_STATUS_DEVICE_DOES_NOT_EXIST UINT32_C(0xc00000c0)
#define VSTOR_STATUS_INVALID_DEVICE_STATE  UINT32_C(0xc0000184)
#define VSTOR_STATUS_IO_DEVICE_ERROR	   UINT32_C(0xc0000185)

struct vstor_header {
	uint32_t operation;
	uint32_t flags; /* of a request: 1, an answer is wanted */
	uint32_t status;
};
static_assert(sizeof(struct vstor_header) == 12, "vstor header");

/* SRB status; the high two bits are flags. */
#define VSTOR_SRB_SUCCESS	  0x01
#define VSTOR_SRB_ERROR		  0x04
#define VSTOR_SRB_BUSY		  0x05
#define VSTOR_SRB_INVALID_REQUEST 0x06
#define VSTOR_SRB_INVALID_LUN	  0x20 /* Linux removes the LUN */
#define VSTOR_SRB_AUTOSENSE_VALID 0x80

/* data_in */
#define VSTOR_DATA_TO_DEVICE   0
#define VSTOR_DATA_FROM_DEVICE 1
#define VSTOR_DATA_NONE	       2

#define VSTOR_CDB_BYTES	  16
#define VSTOR_SENSE_BYTES 20

struct vstor_srb {
	uint16_t length; /* of this struct, as its sender knows it */
	uint8_t srb_status;
	uint8_t scsi_status;
	uint8_t port;
	uint8_t path;
	uint8_t target;
	uint8_t lun;
	uint8_t cdb_bytes;
	uint8_t sense_bytes;
	uint8_t data_in;
	uint8_t reserved;
	uint32_t transfer_bytes;
	union {
		uint8_t cdb[VSTOR_CDB_BYTES];	  /* of a request */
		uint8_t sense[VSTOR_SENSE_BYTES]; /* of an answer */
	};
	uint16_t reserved2; /* from here on: 5.1 and later */
	uint8_t queue_tag;
	uint8_t queue_action;
	uint32_t srb_flags;
	uint32_t timeout_seconds;
	uint32_t queue_sort_key;
};
static_assert(sizeof(struct vstor_srb) == 52, "srb");
static_assert(offsetof(struct vstor_srb, lun) == 7, "srb");
static_assert(offsetof(struct vstor_srb, data_in) == 10, "srb");
static_assert(offsetof(struct vstor_srb, transfer_bytes) == 12, "srb");
static_assert(offsetof(struct vstor_srb, cdb) == 16, "srb");
static_assert(offsetof(struct vstor_srb, srb_flags) == 40, "srb");

/* What an SRB must have at least: senders older than 5.1 stop here. */
#define VSTOR_SRB_MIN_BYTES 36

/* QUERY_PROPERTIES */
#define VSTOR_PROPERTY_MULTI_CHANNEL UINT32_C(1)

struct vstor_properties {
	uint32_t reserved;
	uint16_t max_sub_channels;
	uint16_t reserved2;
	uint32_t flags; /* VSTOR_PROPERTY_* */
	uint32_t max_transfer_bytes;
	uint32_t reserved3[2];
};
static_assert(sizeof(struct vstor_properties) == 24, "properties");
static_assert(offsetof(struct vstor_properties, max_transfer_bytes) == 12, "properties");

/* QUERY_PROTOCOL_VERSION's body is {u16 version, u16 revision}, CREATE_SUB_CHANNELS' a u16 count.
 */

/* What every sender of 5.1 and later sends, whatever the operation; Linux drops a shorter answer.
 */
struct vstor_packet {
	struct vstor_header header;
	union {
		struct vstor_srb srb;
		struct vstor_properties properties;
		uint16_t version;
		uint16_t sub_channel_count;
		uint8_t body[52];
	};
};
static_assert(sizeof(struct vstor_packet) == 64, "vstor packet");
static_assert(offsetof(struct vstor_packet, srb) == 12, "vstor packet");

#endif
