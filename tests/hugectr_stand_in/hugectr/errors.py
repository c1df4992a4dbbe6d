"""One error class a defect, so that a test can ask for it by name.

A script that meets one ends with exit code 1 and the class's name in its traceback. Many of these
defects pass unnoticed in HugeCTR itself, which logs, reads other bytes, or trains on noise.
"""


class StandInError(Exception):
    """Base of all refusals of the stand-in."""


# How functions are called.
class UnknownName(StandInError, AttributeError):
    """The module, a class or an object has no such attribute."""


class UnknownEnumMember(StandInError, AttributeError):
    """An enum has no such member."""


class UnknownArgument(StandInError, TypeError):
    """An argument that no overload has."""


class MissingArgument(StandInError, TypeError):
    """A required argument was not given."""


class PositionalArgument(StandInError, TypeError):
    """An optional argument was given by position, or one was given twice."""


class WrongType(StandInError, TypeError):
    """An argument of another type than the overloads take."""


class InvalidValue(StandInError, ValueError):
    """An argument of the right type whose value cannot be meant."""


class UnusedArgument(StandInError, ValueError):
    """A DenseLayer argument that its kind of layer never reads."""


# The graph.
class OrderViolation(StandInError):
    """Methods of Model called in an order that HugeCTR refuses."""


class UndefinedTensor(StandInError):
    """A layer reads a tensor that no layer before it makes."""


class ReusedTensor(StandInError):
    """A layer makes a tensor of a name that is taken."""


class UnusedTensor(StandInError):
    """No layer reads a tensor, so it gets no gradient."""


class ShapeMismatch(StandInError):
    """The shapes or the number of a layer's tensors do not fit it."""


class TooManyConsumers(StandInError):
    """More than 5 layers read one tensor."""


class WidthTooLarge(StandInError):
    """An embedding wider than 1024."""


class UnsupportedLayer(StandInError):
    """A layer that is broken in HugeCTR 25.03, or of which the stand-in knows nothing."""


class WorkspaceTooSmall(StandInError):
    """A table's workspace does not hold the rows its keys need."""


class UnknownEmbedding(StandInError):
    """No SparseEmbedding has this name."""


# The data.
class MissingFile(StandInError):
    """A file or folder that is named is not there."""


class FileListMismatch(StandInError):
    """``_file_list.txt`` does not say what it must."""


class MetadataMismatch(StandInError):
    """``_metadata.json`` lacks a key or does not describe the parquet files."""


class SlotCountMismatch(StandInError):
    """Slots, labels or dense columns declared in Input are not those of the files."""


class SlotOrderMismatch(StandInError):
    """A slot would be read from another column than the one it is named after."""


class WrongColumnType(StandInError):
    """A column of a type whose bytes HugeCTR would take for another's."""


class NullsInColumn(StandInError):
    """A column, or a list in it, holds nulls."""


class ListTooLong(StandInError):
    """A list holds more items than ``nnz_per_slot``: HugeCTR writes past its buffer."""


class ListLengthNotFixed(StandInError):
    """A slot declared of fixed length holds lists of another length."""


class PandasIndexColumn(StandInError):
    """The parquet file carries the index of a pandas frame as a column."""


class EmptyRowGroup(StandInError):
    """A row group, or a whole file, has no rows."""


class KeyOutOfRange(StandInError):
    """A key below zero, or not below its slot's size."""


class TooFewRows(StandInError):
    """Less than one batch of rows: epoch mode drops the incomplete batch and trains on nothing."""


class EpochMismatch(StandInError):
    """``repeat_dataset`` and the arguments of ``fit`` contradict each other."""


class MaxEvalBatchesTooSmall(StandInError):
    """Evaluation stops before the end of the evaluation set."""


class EmptyEvaluation(StandInError):
    """An evaluation would start at the end of the set and read nothing."""


# Training that differs from the PyTorch model's, or leaves nothing.
class WrongOptimizer(StandInError):
    """A trained weight is not stepped as the PyTorch model steps it: Adam, global, with its betas and epsilon."""


class WrongStart(StandInError):
    """A table does not start from the first values of the PyTorch model."""


class NotSaved(StandInError):
    """The script ends and what was trained is lost."""


# Weights, and what they mean.
class WrongSize(StandInError):
    """A weight file is of another size than the model's weights."""


class DuplicateKey(StandInError):
    """A table file holds a key twice."""


class UncheckedLoad(StandInError):
    """A way of loading weights whose failure HugeCTR only logs."""


class FrozenWithoutWeights(StandInError):
    """A table is frozen at its random initial values."""


class NotFrozen(StandInError):
    """The content table was not loaded, or is left trainable."""


class KeyNotInTable(StandInError):
    """A row looks up a key that the frozen table does not hold."""


class SharedCode(StandInError):
    """Two movies have one content code."""


class WrongVector(StandInError):
    """The vector a row looks up is not the feature-store row of its movie."""


class WrongColumns(StandInError):
    """A tensor named after a column of the feature store holds other columns."""


class WrongCode(StandInError):
    """A row has the code of another user or movie, or another movie's genres."""


class WrongLabel(StandInError):
    """A row's label is not (rating > 3), or a split has other rows than its raw file."""
