package shard

import "github.com/skerrydb/skerry/internal/fault"

// The codes of the typed errors, see internal/fault.

// FaultCode implements fault.Coded.
func (*NotLeaderError) FaultCode() fault.Code { return fault.NotLeader }

// FaultCode implements fault.Coded.
func (*StaleEpochError) FaultCode() fault.Code { return fault.StaleEpoch }

// FaultCode implements fault.Coded.
func (*NotReadyError) FaultCode() fault.Code { return fault.NotReady }

// FaultCode implements fault.Coded.
func (*NotFoundError) FaultCode() fault.Code { return fault.NoSuchShard }

// FaultCode implements fault.Coded.
func (*ServerBusyError) FaultCode() fault.Code { return fault.ServerBusy }

// FaultCode implements fault.Coded.
func (*DiskFullError) FaultCode() fault.Code { return fault.DiskLow }

// FaultCode implements fault.Coded.
func (*RefreshError) FaultCode() fault.Code { return fault.Refresh }

// FaultCode implements fault.Coded.
func (*OverwrittenError) FaultCode() fault.Code { return fault.Overwritten }

// FaultCode implements fault.Coded.
func (*KeyNotInShardError) FaultCode() fault.Code { return fault.KeyOutside }

// FaultCode implements fault.Coded.
func (*InvalidError) FaultCode() fault.Code { return fault.Refused }

// FaultCode implements fault.Coded.
func (*AmbiguousError) FaultCode() fault.Code { return fault.FateUnknown }

// FaultCode implements fault.Coded.
func (*WrongClusterError) FaultCode() fault.Code { return fault.WrongCluster }

// FaultCode implements fault.Coded.
func (*BrokenError) FaultCode() fault.Code { return fault.StoreStopped }

// FaultCode implements fault.Coded.
func (*UseTwoPhaseError) FaultCode() fault.Code { return fault.UseTwoPhase }

// FaultCode implements fault.Coded.
func (*TooNewError) FaultCode() fault.Code { return fault.TooNew }

// FaultCode implements fault.Coded.
func (e *VersionError) FaultCode() fault.Code {
	if e.Cluster > e.Newest {
		return fault.ProgramOld
	}
	return fault.ProgramNew
}
