package schedule

// Rules are what an administrator wants of placement. They are replicated, as JSON, and checked before they are taken.
type Rules struct {
	// Replicas is how many voters a shard has where no rule says otherwise.
	Replicas int `json:"replicas"`
	// Isolation are label keys from the widest to the narrowest, such as zone, rack, host: the replicas of a shard stand
	// as far apart as the stores allow.
	Isolation []string `json:"isolation,omitempty"`
	// Ranges say otherwise for parts of the keyspace; they do not overlap, and lie in ascending order.
	Ranges []RangeRule `json:"ranges,omitempty"`
}

// RangeRule holds for the shards that lie wholly in [Start, End). An empty End is the end of the keyspace.
type RangeRule struct {
	Name  string `json:"name"`
	Start []byte `json:"start,omitempty"`
	End   []byte `json:"end,omitempty"`
	// Replicas is how many voters; 0: as elsewhere.
	Replicas int `json:"replicas,omitempty"`
	// Require are constraints that each replica's store meets.
	Require []Constraint `json:"require,omitempty"`
	// Leaders are constraints on the store that leads; if no voter's store meets them, any leads.
	Leaders []Constraint `json:"leaders,omitempty"`
}

// Constraint is met by a store whose label Key has one of Values, or, with Not, has none of them.
type Constraint struct {
	Key    string   `json:"key"`
	Values []string `json:"values"`
	Not    bool     `json:"not,omitempty"`
}
