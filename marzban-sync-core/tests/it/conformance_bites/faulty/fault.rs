//! What a store may do wrong.

/// What a store does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Fault {
    Nothing,
    /// Sees the accounts of one panel, whichever is asked for.
    IgnoresPanels,
    /// Writes a row that has moved to another panel.
    IgnoresMoves,
    /// Says nothing of a customer's accounts in other panels.
    ForgetsOtherPanels,
    /// Says nothing of the ends that were written from other panels.
    ForgetsWrittenEnds,
    ForgetsReplacedStatuses,
    /// Counts the accounts of this panel among those of the others.
    CountsThisPanelToo,
    /// Says nothing of other customers who name a user.
    ForgetsSharers,
    /// Takes users of other panels and other spellings for the same one.
    SharesAnything,
    /// Says that a change was written, and writes nothing.
    LosesWrites,
    /// Writes whatever the row holds now.
    IgnoresExpected,
    /// Takes a subscription as it is now for what was expected.
    IgnoresPayments,
    /// Gives the first page again and again, for a while.
    RepeatsPages,
    /// Parts the accounts of a user.
    PartsUsers,
    /// Counts an account too many.
    Miscounts,
    /// Gives a lock to every caller.
    SharesLocks,
    /// Has one lock for all jobs.
    LocksEverything,
    /// Clears any name.
    UnlinksAnybody,
    /// Takes the time from elsewhere.
    IgnoresTheTime,
    /// Cuts times to the second.
    LosesFractions,
    /// Calls every end a success.
    AlwaysCompleted,
    /// Takes a run of whatever panel for one whose process died.
    AbandonsOtherPanels,
    /// Says that it forgot, and keeps all.
    ForgetsNothing,
    /// Forgets the history of other panels too.
    ForgetsAnyPanel,
    /// Takes a row whose name is empty for an account.
    SeesNamelessRows,
    /// Reads no telegram ids.
    ForgetsTelegramIds,
    /// Gives a user without a subscription that of somebody else.
    LendsSubscriptions,
    /// Lets the latest end govern, open or not.
    LatestGoverns,
    /// Lets an `active` subscription govern before a `trial`.
    ActiveBeforeTrial,
    /// Takes no end for the earliest one.
    NoEndIsTheEarliest,
    /// Breaks a tie by the lowest id.
    LowestIdGoverns,
    /// Leaves out accounts whose subscription is not synced.
    SeesSubscribedAccountsAlone,
    /// Lets a subscription govern that has not begun.
    IgnoresBeginnings,
    /// Lets an invoice govern like any other subscription that is not open.
    PendingIsLikeAnyOther,
    /// Lets the governing subscription stand for the one that an account names.
    IgnoresSubscriptionIds,
    /// Knows words in small letters alone.
    MindsCase,
    /// Writes words in small letters alone.
    WritesSmallLetters,
    /// Takes another spelling of a status for the same.
    IgnoresSpelling,
    /// Has a page behind every page.
    EndlessPages,
    /// Takes a page of no users for one of one user.
    AllowsEmptyPages,
    /// Reads a user less than was asked for.
    SmallerPages,
    /// Goes on behind the last account of a page.
    CursorIsTheLastAccount,
    /// Reloads the accounts that were asked for, and not the others of their users.
    ReloadsWhatIsAsked,
    /// Reloads what it has read before.
    Remembers,
    /// Reads names in small letters.
    LowersNames,
    /// Reads null as false.
    NullIsFalse,
    /// Compares digits that it does not keep.
    ComparesNanoseconds,
    /// Keeps traffic in 32 bits.
    CutsTraffic,
    /// Marks rows as updated that it was not to write.
    TouchesAnyway,
    /// Compares a change with what the change before it has written.
    OneByOne,
    /// Writes one table, and later the other.
    HalfAtATime,
    /// Leaves an unlinked account switched on.
    UnlinksTheNameAlone,
    /// Finds a conflict where there is no subscription.
    NeedsASubscription,
    /// Finds a conflict where there are several subscriptions.
    NeedsOneSubscription,
    /// Writes nothing when something is in conflict.
    AllOrNothing,
    /// Compares, and writes later.
    ChecksThenWrites,
    /// Writes what has a row to go to, and leaves out the rest.
    WritesHalf,
    /// Leaves open what is to expire with the account's own subscription.
    LeavesTheOthersOpen,
    /// Takes what is to expire with it as it is now for what was expected.
    IgnoresOtherPayments,
    /// Unlinks customers that have paid since.
    UnlinksPayers,
    /// Rehearses by doing it.
    RehearsesForReal,
    /// Says that everything could be unlinked.
    RehearsesNothing,
    /// Forgets a panel user that other rows name.
    ForgetsSharedUsers,
    /// Says nothing of what is remembered.
    ForgetsAgreements,
    /// Writes the rows of a change, and not what is to be remembered.
    LosesAgreements,
    /// Overwrites what another run has remembered.
    OverwritesAgreements,
    /// Finds a conflict where that is remembered which is to be.
    MindsTheRevisionAlone,
    /// Reads an empty trail.
    LeavesNoTrail,
    /// Tells of changes that were not written.
    TellsOfConflicts,
    /// Takes what was meant to be done for done.
    EverythingIsDone,
    /// Reads the trail of a customer the earliest first.
    EarliestEntriesFirst,
    /// Puts an old value back whatever the row has now.
    UndoesAnyway,
    /// Puts a value back by its latest change alone.
    UndoesTheLatestAlone,
    /// Remembers the previous end of what was undone.
    RemembersWhatWasUndone,
    /// Never frees a lock.
    KeepsLocks,
    /// Says of a lock that it holds that it was lost.
    LosesLocks,
    /// Records no reports.
    ForgetsReports,
    /// Ends runs that never began.
    EndsAnyRun,
    /// Says that figures were recorded, and records nothing.
    LosesFigures,
    /// Reads the history the oldest first.
    OldestFirst,
    /// Reads the latest run, however it ended.
    IgnoresOutcomes,
    /// Takes the run with the latest clock for the latest.
    TrustsClocks,
}
